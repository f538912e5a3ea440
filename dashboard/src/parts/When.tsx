import { ago, moment } from "./format";
import { useNow } from "./Now";

/** A time as people say it; the exact one when pointed at. Unknown is a dash, which is not zero. */
export function When({ at, never = "never" }: { at: string | undefined; never?: string }) {
  const now = useNow();
  if (!at) return <span className="faint">{never}</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={moment(date)}>
      {ago(date, now)}
    </time>
  );
}
