import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

const NowContext = createContext(new Date());

/** One clock for all that says "3 min ago". */
export function NowProvider({ children }: { children: ReactNode }) {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), 10_000);
    return () => clearInterval(timer);
  }, []);
  return <NowContext value={now}>{children}</NowContext>;
}

export const useNow = (): Date => useContext(NowContext);
