import { refuse } from './picture-bytes.ts'

/** A ZIP is found by a record at its end: 22 bytes, and a comment of at most 64 KiB. */
const ZIP_END_BYTES = 22 + 65_535
const zipEnd = [0x50, 0x4b, 0x05, 0x06, 0, 0, 0, 0]
/** Readers of PDF look for this in the first 1,024 bytes. */
const pdf = [...'%PDF-'].map((letter) => letter.charCodeAt(0))
const PDF_BYTES = 1_024

const LESS_THAN = 0x3c
/** After `<`, without case. The next byte must not be a letter, so that chance does not find the short ones. */
const tags = ['script', 'html', '!doctype', 'iframe', '?php'].map((name) =>
  [...name].map((letter) => letter.charCodeAt(0)),
)

/**
 * Refuses a file that another program could open as something else: an archive, a document or a page. This is a second
 * barrier. The first is that nothing serves an original (decision 0047).
 */
export function refuseForeignContent(bytes: Uint8Array): void {
  const { length } = bytes
  for (let at = Math.max(0, length - ZIP_END_BYTES); at < length; at++) {
    if (bytes[at] === zipEnd[0] && startsWith(bytes, at, zipEnd)) refuse('The file is also a ZIP archive')
  }
  for (let at = 0; at < Math.min(PDF_BYTES, length); at++) {
    if (bytes[at] === pdf[0] && startsWith(bytes, at, pdf)) refuse('The file is also a PDF')
  }
  for (let at = 0; at < length; at++) {
    if (bytes[at] === LESS_THAN && tags.some((name) => isTag(bytes, at + 1, name))) refuse('The file has HTML in it')
  }
}

function startsWith(bytes: Uint8Array, at: number, expected: number[]): boolean {
  return at + expected.length <= bytes.length && expected.every((byte, index) => bytes[at + index] === byte)
}

const lower = (byte: number | undefined): number | undefined =>
  byte !== undefined && byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte

function isTag(bytes: Uint8Array, at: number, name: number[]): boolean {
  if (at + name.length >= bytes.length) return false
  for (const [index, byte] of name.entries()) if (lower(bytes[at + index]) !== byte) return false
  const after = bytes[at + name.length]
  return after === 0x3e || after === 0x2f || after === 0x20 || (after !== undefined && after >= 0x09 && after <= 0x0d)
}
