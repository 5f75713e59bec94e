/** One JSON object per line. Never log a secret or an e-mail address; pass ids and codes. */
export interface Log {
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

export type LogFields = Record<string, string | number | boolean | null | undefined>

const EMAIL = /[^\s@"<>]+@[^\s@"'<>]+\.[^\s@"'<>]+/g
/** A session's token: user id, session id, secret. A mailed link's: token id, secret. */
const TOKEN = /[0-9a-f]{4}[0-9a-z]{26}\.(?:[0-9a-f]{4}[0-9a-z]{26}\.)?[A-Za-z0-9_-]{20,}/g

/** Removes text that looks like an e-mail address or a token, in case it reaches a message. */
export const redact = (text: string): string => text.replace(TOKEN, '[token]').replace(EMAIL, '[e-mail]')

// Redacts each value separately, because in JSON's text an address may end at a backslash that belongs to the next
// quote.
const redacted = (_key: string, value: unknown): unknown => (typeof value === 'string' ? redact(value) : value)

/** A log whose lines all carry `context`, such as the request's id. */
export function createLog(context: LogFields, write: (level: 'info' | 'warn' | 'error', line: string) => void): Log {
  const line =
    (level: 'info' | 'warn' | 'error') =>
    (event: string, fields: LogFields = {}) =>
      write(level, JSON.stringify({ level, event, ...context, ...fields }, redacted))
  return { info: line('info'), warn: line('warn'), error: line('error') }
}

export const consoleLog = (context: LogFields): Log => createLog(context, (level, text) => console[level](text))
