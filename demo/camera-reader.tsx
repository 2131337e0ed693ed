/**
 * Reads QR codes with the camera: by the browser's own detector where it has one, else by a library
 * that is loaded only then. The camera is on exactly as long as this is on the screen.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { BarcodeDetector } from "qr/decode.js";
import { Icon } from "./icons.tsx";

type Detector = Pick<BarcodeDetector, "detect">;

/** Between two looks: quick for a person, and leaves a phone's processor most of its time. */
const LOOK_MS = 150;

/** Browsers give cameras to https pages only. */
export function hasCamera(): boolean {
  return navigator.mediaDevices?.getUserMedia !== undefined;
}

/** @param props.onText called with each text seen, again and again while it is in sight */
export function CameraReader(props: { onText: (text: string) => void; hint: string }): JSX.Element {
  const video = useRef<HTMLVideoElement>(null);
  const latest = useRef(props.onText);
  latest.current = props.onText;
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const ending = new AbortController();
    if (video.current !== null)
      watch(video.current, (text) => latest.current(text), ending.signal).catch(
        (error: unknown) => {
          if (!ending.signal.aborted) setProblem(cameraWords(error));
        },
      );
    return () => ending.abort();
  }, []);
  if (problem !== null)
    return (
      <div class="problem" role="alert" data-testid="camera-problem">
        <Icon name="alert" />
        <p>{problem} You can paste the other device’s text instead.</p>
      </div>
    );
  return (
    <div class="camera">
      <video ref={video} muted playsInline aria-label="What the camera sees" data-testid="camera" />
      <p class="quiet" role="status">
        {props.hint}
      </p>
    </div>
  );
}

async function watch(
  video: HTMLVideoElement,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const [stream, detector] = await Promise.all([
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false }),
    openDetector(),
  ]);
  const stop = (): void => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
  if (signal.aborted) {
    stop();
    return;
  }
  signal.addEventListener("abort", stop);
  video.srcObject = stream;
  await video.play();
  while (!signal.aborted) {
    const [found] = await detector.detect(video);
    if (found !== undefined && !signal.aborted) onText(found.rawValue);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/**
 * Where the browser has a detector it is quicker. Not every one of them knows QR codes, and one may
 * fail because the system's service behind it is missing: then the library looks.
 */
async function openDetector(): Promise<Detector> {
  const { BarcodeDetector: native } = globalThis as {
    BarcodeDetector?: typeof BarcodeDetector;
  };
  const formats = (await native?.getSupportedFormats()) ?? [];
  if (native === undefined || !formats.includes("qr_code")) return openLibrary();
  const detector = new native({ formats: ["qr_code"] });
  return {
    detect: (image) =>
      detector.detect(image).catch(async () => (await openLibrary()).detect(image)),
  };
}

async function openLibrary(): Promise<Detector> {
  const library = await import("qr/decode.js");
  return new library.BarcodeDetector({ formats: ["qr_code"] });
}

function cameraWords(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
      return "This page may not use the camera. Allow it in the browser’s settings for this page.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "This device has no camera.";
    case "NotReadableError":
      return "Another app uses the camera.";
    default:
      return "The camera did not start.";
  }
}
