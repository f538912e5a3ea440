/** A selector's term that a key has a value; the value is quoted when the selector language needs it. */
export function term(key: string, value: string): string {
  if (/^[A-Za-z0-9._+\-:/@]+$/.test(value)) return `${key}=${value}`;
  return `${key}="${value.replace(/[\\"]/g, "\\$&")}"`;
}
