import { BanyanError } from '../core/errors.ts'

/**
 * The only decoder of client input. It throws for bytes that are not UTF-8, including overlong forms and surrogates. It
 * keeps a byte order mark, so that two different bodies never become the same text.
 */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The bytes as text, or null if they are not UTF-8. */
export function utf8Text(bytes: ArrayBuffer | Uint8Array): string | null {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

const ESCAPED_BYTES = /(?:%[0-9a-f]{2})+/gi

/** True if all percent-encoded bytes (`%C3%A9`) of the text are UTF-8. A `%` without two hex digits is literal. */
export const hasUtf8Escapes = (text: string): boolean =>
  (text.match(ESCAPED_BYTES) ?? []).every(
    (escapes) =>
      utf8Text(Uint8Array.from(escapes.slice(1).split('%'), (digits) => Number.parseInt(digits, 16))) !== null,
  )

/** `part` names the malformed part of the request, as the subject of a sentence. */
export const malformedUtf8 = (part: string): BanyanError =>
  new BanyanError('MALFORMED_UTF8', `${part} is not UTF-8. Send UTF-8, and percent-encode it in addresses and forms.`)
