import { Concern } from "./Concern";

/** What the server sees as a symptom: the finding, and after its colon what to do. */
export function Advice({ items }: { items: string[] | undefined }) {
  return (
    <>
      {(items ?? []).map((text) => {
        const at = text.indexOf(": ");
        if (at < 0) return <Concern key={text} head={text} />;
        return (
          <Concern key={text} head={`${text.slice(0, at)}.`}>
            {text.charAt(at + 2).toUpperCase() + text.slice(at + 3)}
          </Concern>
        );
      })}
    </>
  );
}
