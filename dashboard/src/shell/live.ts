import { createContext, useContext, useEffect, useSyncExternalStore } from "react";
import type { Live, Liveness } from "../api/live";

export const LiveContext = createContext<Live | null>(null);

function useStream(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("no LiveContext around this part");
  return live;
}

/** How the stream is. */
export function useLiveness(): Liveness {
  const live = useStream();
  return useSyncExternalStore(live.subscribe, live.snapshot);
}

/** Follows the server as long as the caller is on the screen. */
export function useFollow(): void {
  const live = useStream();
  useEffect(() => live.start(), [live]);
}
