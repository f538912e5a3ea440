import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";

/** Something that somebody should look at: one sentence, and the next step. */
export function Concern({ head, children }: { head: ReactNode; children?: ReactNode }) {
  return (
    <div className="concern">
      <IconAlertTriangle size={20} aria-hidden />
      <div>
        <strong>{head}</strong>
        {children && <p className="soft">{children}</p>}
      </div>
    </div>
  );
}
