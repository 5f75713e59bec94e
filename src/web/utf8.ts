import { BanyanError } from '../core/errors.ts'

/**
 * The one decoder of what clients send. It throws for bytes that are not UTF-8 (overlong forms and surrogates too), and
 * keeps a byte order mark, so that two different bodies never become the same text.
 */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that these bytes are, or null if they are not UTF-8. */
export function utf8Text(bytes: ArrayBuffer | Uint8Array): string | null {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

const ESCAPED_BYTES = /(?:%[0-9a-f]{2})+/gi

/** True if the bytes that a text escapes (`%C3%A9`) are UTF-8. A `%` without two hex digits stands for itself. */
export const hasUtf8Escapes = (text: string): boolean =>
  (text.match(ESCAPED_BYTES) ?? []).every(
    (escapes) =>
      utf8Text(Uint8Array.from(escapes.slice(1).split('%'), (digits) => Number.parseInt(digits, 16))) !== null,
  )

/** `part` names what is wrong, as the subject of a sentence. */
export const malformedUtf8 = (part: string): BanyanError =>
  new BanyanError(
    'MALFORMED_UTF8',
    `${part} is not UTF-8. Send UTF-8, and escape its bytes where the address needs it.`,
  )
