import { useTexts } from "../texts";

/** Mark and name of the application. */
export function Brand() {
  const texts = useTexts();
  return (
    <span className="brand">
      <svg className="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <rect width="32" height="32" rx="7" fill="currentColor" />
        <g fill="none" className="brand-lines" strokeWidth="2.6" strokeLinecap="round">
          <path d="M8 11h7c5 0 4 10 9 10" />
          <path d="M8 21h5M19 11h5" />
        </g>
      </svg>
      <span className="brand-name">{texts.product}</span>
    </span>
  );
}
