const BAR_CHARACTERS = 24

/** Where progress goes: the error output, so that the answer has the other one for itself. */
export interface Screen {
  isTTY?: boolean
  columns?: number
  rows?: number
  write(text: string): unknown
}

export interface Timer {
  /** Milliseconds since some moment. */
  now(): number
  sleep(ms: number): Promise<unknown>
}

/** As full as the fraction, from 0 to 1, of what is being done. */
export function bar(fraction: number): string {
  const full = Math.round(fraction * BAR_CHARACTERS)
  return '█'.repeat(full) + '░'.repeat(BAR_CHARACTERS - full)
}
