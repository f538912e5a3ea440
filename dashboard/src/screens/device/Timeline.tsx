import type { Schemas } from "../../api/client";
import { duration } from "../../parts/format";
import { look, reasonWords } from "../../parts/marks";
import { steps } from "./steps";

/** An update, step by step, with how long each took. */
export function Timeline({ of }: { of: Schemas["Update"] }) {
  const total = of.bytes.total ?? 0;
  const done = of.bytes.done ?? 0;
  return (
    <div className="timeline-room">
      <ol className="timeline">
        {steps(of).map(({ phase, state, millis }) => {
          const { icon: Icon, word } = look(phase);
          return (
            <li
              key={phase}
              className={`step step-${state}`}
              aria-current={state === "now" ? "step" : undefined}
            >
              <span className="step-knot">
                <Icon size={17} stroke={2} aria-hidden />
              </span>
              <span className="step-word">{word}</span>
              <span className="faint num">
                {millis !== undefined
                  ? duration(millis)
                  : state === "skipped"
                    ? "not measured"
                    : state === "now"
                      ? "now"
                      : ""}
              </span>
            </li>
          );
        })}
      </ol>
      {of.phase === "downloading" && total > 0 && (
        <progress className="meter" value={done} max={total} aria-label="In place" />
      )}
      {of.reason && (
        <div className="reason">
          <strong>{reasonWords(of.reason)}</strong>
          {of.detail && <p className="mono">{of.detail}</p>}
        </div>
      )}
    </div>
  );
}
