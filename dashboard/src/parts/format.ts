// Words and numbers for people. All pure.

const whole = new Intl.NumberFormat("en-GB");

/** 12345 → "12,345" */
export const number = (n: number): string => whole.format(n);

/** Bytes in decimal units with three digits that count: "0 B", "734 B", "7.34 MB". */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  const digits = unit === 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return `${n.toFixed(digits)} ${units[unit]}`;
}

/** How long something took: "40 ms", "1.2 s", "2 min 5 s", "3 h 20 min". */
export function duration(ms: number): string {
  if (ms < 100) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return two(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(a: number, unit: string, b: number, smaller: string): string {
  return b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${smaller}`;
}

/** How far from now: "just now", "3 min ago", "in 2 d". */
export function ago(at: Date, now: Date): string {
  const ms = now.getTime() - at.getTime();
  const size = Math.abs(ms);
  if (size < 10_000) return "just now";
  const [n, unit] =
    size < 60_000
      ? [size / 1000, "s"]
      : size < 3_600_000
        ? [size / 60_000, "min"]
        : size < 86_400_000
          ? [size / 3_600_000, "h"]
          : [size / 86_400_000, "d"];
  const text = `${Math.floor(n as number)} ${unit}`;
  return ms >= 0 ? `${text} ago` : `in ${text}`;
}

/** "12:04" in the reader's own time. */
export const clock = (at: Date): string =>
  at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** The whole time, for a tooltip. */
export const moment = (at: Date): string =>
  at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "long" });

/** 1, "device" → "1 device"; 2, "device" → "2 devices" */
export const many = (n: number, noun: string): string => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** The first digits of a digest; enough to tell two apart. */
export const short = (digest: string): string => digest.slice(0, 12);
