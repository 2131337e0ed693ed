/**
 * A text as a QR code: dark on light in every theme, since cameras expect it.
 *
 * @module
 */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { encode } from "uqr";

/** @param props.label what it is the code of, read out in its place */
export function QrCode(props: { text: string; label: string; testId: string }): JSX.Element {
  const { size, path } = useMemo(() => qrPath(props.text), [props.text]);
  return (
    <svg
      class="qr"
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label={props.label}
      data-testid={props.testId}
      shape-rendering="crispEdges"
    >
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#10231a" />
    </svg>
  );
}

function qrPath(text: string): { readonly size: number; readonly path: string } {
  const { data, size } = encode(text, { ecc: "L", border: 4 });
  const dark = data.flatMap((row, y) =>
    row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : [])),
  );
  return { size, path: dark.join("") };
}
