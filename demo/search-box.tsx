/**
 * A search field that answers a moment after the last key, and to "/" from anywhere.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";

const PAUSE_MS = 150;

export function SearchBox(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
}): JSX.Element {
  const [text, setText] = useState(props.value);
  useEffect(() => {
    const timer = setTimeout(() => props.onChange(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label class="search">
      <span class="hidden-label">{props.label}</span>
      <Icon name="search" />
      <input
        type="search"
        data-testid="search"
        data-shortcut="/"
        placeholder="Search"
        autocomplete="off"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </label>
  );
}
