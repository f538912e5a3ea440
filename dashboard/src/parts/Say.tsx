import { CloseButton } from "@mantine/core";
import { IconAlertTriangle, IconCheck } from "@tabler/icons-react";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";

interface Word {
  text: string;
  bad: boolean;
}

/** Tells people what came of what they did. */
export interface Say {
  done(text: string): void;
  failed(error: Error): void;
}

const SayContext = createContext<Say>({ done() {}, failed() {} });
const shown = 6_000; // ms; a failure stays until it is closed

/** The page's one polite live region: it is seen in the corner and heard by a screen reader. */
export function SayProvider({ children }: { children: ReactNode }) {
  const [word, setWord] = useState<Word | null>(null);
  const done = useCallback((text: string) => setWord({ text, bad: false }), []);
  const failed = useCallback((error: Error) => setWord({ text: error.message, bad: true }), []);
  const say = useMemo(() => ({ done, failed }), [done, failed]);

  useEffect(() => {
    if (!word || word.bad) return;
    const timer = setTimeout(() => setWord(null), shown);
    return () => clearTimeout(timer);
  }, [word]);

  return (
    <SayContext value={say}>
      {children}
      <div className="say" role="status" aria-live="polite">
        {word && (
          <div className={word.bad ? "say-word say-bad" : "say-word"}>
            {word.bad ? <IconAlertTriangle size={18} aria-hidden /> : <IconCheck size={18} aria-hidden />}
            <span>{word.text}</span>
            <CloseButton size="sm" aria-label="Close this message" onClick={() => setWord(null)} />
          </div>
        )}
      </div>
    </SayContext>
  );
}

export const useSay = (): Say => useContext(SayContext);
