import type { ReactNode } from "react";

/* All on a grid of 20, drawn with strokes of 1.6. Shapes of states differ, not only their colour. */
const SHAPES = {
  available: (
    <>
      <circle cx="10" cy="10" r="7.2" fill="currentColor" stroke="none" />
      <path d="m6.8 10.2 2.2 2.2 4.3-4.6" className="ui-icon-cut" />
    </>
  ),
  break: (
    <>
      <path d="M4 7.5h9.5v4.7a3.6 3.6 0 0 1-3.6 3.6H7.6A3.6 3.6 0 0 1 4 12.2z" />
      <path d="M13.5 8.6h1.2a1.9 1.9 0 0 1 0 3.8h-1.3M7 2.8v2M10.4 2.8v2" />
    </>
  ),
  offline: (
    <>
      <circle cx="10" cy="10" r="7" />
      <path d="m5.2 14.8 9.6-9.6" />
    </>
  ),
  offered: (
    <>
      <path d="M5.5 13.5V9a4.5 4.5 0 0 1 9 0v4.5l1.2 1.3H4.3z" fill="currentColor" />
      <path d="M8.4 17.1h3.2M2.4 7.2c.2-1.5.8-2.8 1.8-3.8M17.6 7.2c-.2-1.5-.8-2.8-1.8-3.8" />
    </>
  ),
  busy: (
    <path
      d="M6.2 3.2 8 6.7 6.4 8.5c.9 2.2 2.8 4.2 5.1 5.1l1.8-1.6 3.5 1.8-.5 2.2c-.2.7-.7 1-1.4 1C8.6 16.6 3.4 11.4 3 5.1c0-.7.3-1.2 1-1.4z"
      fill="currentColor"
    />
  ),
  "wrap-up": (
    <>
      <path d="m12.6 4.2 3.2 3.2-8 8-3.9.7.7-3.9z" />
      <path d="m10.8 6 3.2 3.2" />
    </>
  ),
  phone: (
    <path d="M6.2 3.2 8 6.7 6.4 8.5c.9 2.2 2.8 4.2 5.1 5.1l1.8-1.6 3.5 1.8-.5 2.2c-.2.7-.7 1-1.4 1C8.6 16.6 3.4 11.4 3 5.1c0-.7.3-1.2 1-1.4z" />
  ),
  incoming: <path d="M15.5 4.5 5 15M5 7.5V15h7.5" />,
  outgoing: <path d="M4.5 15.5 15 5M7.5 5H15v7.5" />,
  internal: <path d="M3 7h12.5M12 3.5 15.5 7 12 10.5M17 13H4.5M8 9.5 4.5 13 8 16.5" />,
  eye: (
    <>
      <path d="M2 10s2.9-5.2 8-5.2S18 10 18 10s-2.9 5.2-8 5.2S2 10 2 10z" />
      <circle cx="10" cy="10" r="2.3" />
    </>
  ),
  "eye-off": (
    <>
      <path d="M4.3 6.6C2.8 8.2 2 10 2 10s2.9 5.2 8 5.2c1.2 0 2.3-.3 3.2-.7M8 5c.6-.1 1.3-.2 2-.2 5.1 0 8 5.2 8 5.2s-.7 1.3-2.1 2.7" />
      <path d="m3 3 14 14" />
    </>
  ),
  help: (
    <>
      <circle cx="10" cy="10" r="7.2" />
      <path d="M7.9 7.9a2.1 2.1 0 1 1 3.2 1.8c-.7.4-1.1.9-1.1 1.7M10 14h.01" />
    </>
  ),
  more: <path d="M4.5 10h.01M10 10h.01M15.5 10h.01" strokeWidth="2.6" />,
  down: <path d="m5 7.5 5 5 5-5" />,
  check: <path d="m4 10.5 4 4 8-9" />,
  warning: (
    <>
      <path d="M10 3 2.2 16.5h15.6z" />
      <path d="M10 8v4M10 14.3h.01" />
    </>
  ),
  signal: (
    <>
      <circle cx="10" cy="10" r="2.2" fill="currentColor" stroke="none" />
      <path d="M6.3 13.7a5.2 5.2 0 0 1 0-7.4M13.7 6.3a5.2 5.2 0 0 1 0 7.4" />
    </>
  ),
  "no-signal": (
    <>
      <path d="M6.3 13.7a5.2 5.2 0 0 1-1.3-5.5M13.7 6.3a5.2 5.2 0 0 1 1.3 5.5M3.5 3.5l13 13" />
      <circle cx="10" cy="10" r="1.6" />
    </>
  ),
  clock: (
    <>
      <circle cx="10" cy="10" r="7.2" />
      <path d="M10 5.8V10l2.8 1.8" />
    </>
  ),
  queue: <path d="M3.5 5h13M3.5 10h13M3.5 15h8" />,
  history: (
    <>
      <path d="M3.2 10a6.9 6.9 0 1 0 2.2-5L3.2 7" />
      <path d="M3.2 3.3V7h3.7M10 6.5V10l2.6 1.6" />
    </>
  ),
  person: (
    <>
      <circle cx="10" cy="6.7" r="3.2" />
      <path d="M3.8 16.8c.6-3.2 3.2-4.9 6.2-4.9s5.6 1.7 6.2 4.9" />
    </>
  ),
  theme: (
    <>
      <circle cx="10" cy="10" r="7.2" />
      <path d="M10 2.8a7.2 7.2 0 0 1 0 14.4z" fill="currentColor" />
    </>
  ),
  refresh: <path d="M16.5 8A6.8 6.8 0 1 0 16.8 11.5M16.8 3.5V8h-4.5" />,
  open: (
    <>
      <circle cx="10" cy="10" r="7.2" />
      <path d="m6.8 10.2 2.2 2.2 4.3-4.6" />
    </>
  ),
  closed: (
    <>
      <rect x="4.5" y="9" width="11" height="7.5" rx="1.2" />
      <path d="M6.8 9V6.6a3.2 3.2 0 0 1 6.4 0V9" />
    </>
  ),
  close: <path d="m5 5 10 10M15 5 5 15" />,
  logout: <path d="M8 3.5H4v13h4M8.5 10H17M13.5 6.5 17 10l-3.5 3.5" />,
  empty: (
    <>
      <path d="M3 11.5 5.2 4.5h9.6l2.2 7v4.5H3z" />
      <path d="M3 11.5h4l1 2h4l1-2h4" />
    </>
  ),
} satisfies Record<string, ReactNode>;

export type IconName = keyof typeof SHAPES;

/** A picture that says nothing by itself: text stands beside it or names its button. */
export function Icon({ name, className = "" }: { name: IconName; className?: string }) {
  return (
    <svg
      className={`ui-icon ${className}`}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {SHAPES[name]}
    </svg>
  );
}
