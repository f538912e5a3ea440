import { look } from "./marks";

/** A state: icon, word and colour. */
export function Mark({ of, word }: { of: string; word?: string }) {
  const { icon: Icon, word: usual, tone } = look(of);
  return (
    <span className={`mark tone-${tone}`}>
      <Icon size={16} stroke={2} aria-hidden />
      <span>{word ?? usual}</span>
    </span>
  );
}
