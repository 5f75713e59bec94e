const BAR_CHARACTERS = 24

/** The output for progress: standard error, so that standard output holds only the result. */
export interface Screen {
  isTTY?: boolean
  columns?: number
  rows?: number
  write(text: string): unknown
}

export interface Timer {
  /** Milliseconds since an arbitrary start. */
  now(): number
  sleep(ms: number): Promise<unknown>
}

/** A progress bar for a fraction from 0 to 1. */
export function bar(fraction: number): string {
  const full = Math.round(fraction * BAR_CHARACTERS)
  return '█'.repeat(full) + '░'.repeat(BAR_CHARACTERS - full)
}
