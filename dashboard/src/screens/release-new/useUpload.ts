import { useEffect, useRef, useState } from "react";
import { upload } from "../../api/upload";

/** An image on its way. */
export interface Uploading {
  file: File | null;
  state: "none" | "sending" | "sent" | "failed";
  sent: number;
  /** Bytes a second since it began. */
  rate: number;
  trouble: string | undefined;
  choose: (file: File) => void;
  again: () => void;
  drop: () => void;
  /** The id of the upload once every byte is there; fails as the upload does. */
  finished: () => Promise<string>;
}

const nothing = { state: "none", sent: 0, rate: 0, trouble: undefined } as const;

/** Sends one image at a time. Leaving the screen stops it; choosing the same file later goes on from there. */
export function useUpload(): Uploading {
  const [file, setFile] = useState<File | null>(null);
  const [at, setAt] = useState<Pick<Uploading, "state" | "sent" | "rate" | "trouble">>(nothing);
  const job = useRef<{ stop: AbortController; done: Promise<string> } | null>(null);

  const send = (chosen: File) => {
    job.current?.stop.abort();
    const stop = new AbortController();
    const began = performance.now();
    let first: number | undefined;
    setFile(chosen);
    setAt({ ...nothing, state: "sending" });
    const done = upload(
      chosen,
      ({ sent, trouble }) => {
        first ??= sent; // what was there before is no measure of speed
        const seconds = (performance.now() - began) / 1000;
        setAt({ state: "sending", sent, rate: seconds > 0.3 ? (sent - first) / seconds : 0, trouble });
      },
      stop.signal,
    );
    job.current = { stop, done };
    done.then(
      () => setAt((a) => ({ ...a, state: "sent", sent: chosen.size, trouble: undefined })),
      (error: Error) =>
        stop.signal.aborted || setAt((a) => ({ ...a, state: "failed", trouble: error.message })),
    );
  };

  useEffect(() => () => job.current?.stop.abort(), []);
  useEffect(() => {
    if (at.state !== "sending") return;
    const warn = (e: BeforeUnloadEvent) => e.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [at.state]);

  return {
    ...at,
    file,
    choose: send,
    again: () => file && send(file),
    drop: () => {
      job.current?.stop.abort();
      job.current = null;
      setFile(null);
      setAt(nothing);
    },
    finished: () => job.current?.done ?? Promise.reject(new Error("Choose an image first.")),
  };
}
