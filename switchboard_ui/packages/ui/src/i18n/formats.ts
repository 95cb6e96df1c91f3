export type Locale = "de" | "en";

/** Region whose habits dates and numbers follow. */
const REGION: Record<Locale, string> = { de: "de-DE", en: "en-GB" };

/** Writes times, durations and numbers as the language's readers expect them. */
export interface Formats {
  readonly locale: Locale;
  /** BCP 47 tag with region, e.g. `de-DE`. */
  readonly tag: string;
  /** 65 -> `1:05`, 3725 -> `1:02:05`. */
  clock(seconds: number): string;
  /** 65 -> `1 Minute 5 Sekunden`, for people who listen. */
  spoken(seconds: number): string;
  /** 25 s -> `25 s`, 130 s -> `2:10 min`. */
  seconds(seconds: number): string;
  time(at: Date): string;
  /** `heute`, `gestern`, or the date. */
  day(at: Date, now: Date): string;
  dateTime(at: Date): string;
  percent(part: number, whole: number): string;
  number(value: number): string;
  phone(number: string): string;
  list(items: readonly string[]): string;
}

export function formats(locale: Locale): Formats {
  const tag = REGION[locale];
  const time = new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit" });
  const date = new Intl.DateTimeFormat(tag, { weekday: "short", day: "numeric", month: "long" });
  const dateTime = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(tag, { numeric: "auto" });
  const percent = new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: 0 });
  const number = new Intl.NumberFormat(tag);
  const list = new Intl.ListFormat(tag, { type: "conjunction" });
  const unit = (name: string): Intl.NumberFormat =>
    new Intl.NumberFormat(tag, { style: "unit", unit: name, unitDisplay: "long" });
  const [hours, minutes, seconds] = [unit("hour"), unit("minute"), unit("second")];

  return {
    locale,
    tag,
    clock,
    spoken: (total) => {
      const { h, m, s } = parts(total);
      const said = [
        ...(h > 0 ? [hours.format(h)] : []),
        ...(m > 0 ? [minutes.format(m)] : []),
        ...(h === 0 && (s > 0 || m === 0) ? [seconds.format(s)] : []),
      ];
      return said.join(" ");
    },
    seconds: (total) => (total < 60 ? `${Math.round(total)} s` : `${clock(total)} min`),
    time: (at) => time.format(at),
    day: (at, now) => {
      const days = Math.round((midnight(at) - midnight(now)) / 86_400_000);
      return days === 0 || days === -1 ? relative.format(days, "day") : date.format(at);
    },
    dateTime: (at) => dateTime.format(at),
    percent: (part, whole) => percent.format(whole === 0 ? 0 : part / whole),
    number: (value) => number.format(value),
    phone,
    list: (items) => list.format(items),
  };
}

function parts(total: number): { h: number; m: number; s: number } {
  const whole = Math.max(0, Math.floor(total));
  return { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60), s: whole % 60 };
}

function clock(total: number): string {
  const { h, m, s } = parts(total);
  const two = (value: number): string => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function midnight(at: Date): number {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** Groups an outside number so that it can be read; where the area code ends is not known. */
export function phone(number: string): string {
  const international = /^\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})(\d+)$/.exec(
    number,
  );
  if (international === null) return number;
  const [, country, rest] = international as unknown as [string, string, string];
  const groups = rest.match(/\d{1,3}/g) ?? [];
  const last = groups.at(-1);
  if (groups.length > 1 && last !== undefined && last.length === 1) {
    groups.splice(-2, 2, `${groups.at(-2) ?? ""}${last}`);
  }
  return `+${country} ${groups.join(" ")}`;
}
