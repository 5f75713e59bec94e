import { refuse } from './picture-bytes.ts'

/** A ZIP is found by a record at its end: 22 bytes, and a comment of at most 64 KiB. */
const ZIP_END_BYTES = 22 + 65_535
const zipEnd = [0x50, 0x4b, 0x05, 0x06, 0, 0, 0, 0]
/** Readers of PDF look for this in the first 1,024 bytes. */
const pdf = [...'%PDF-'].map((letter) => letter.charCodeAt(0))
const PDF_BYTES = 1_024

const LESS_THAN = 0x3c
/**
 * After `<`, without case. White space, `/` or `>` must follow, so that chance does not find the short ones. Photoshop
 * writes XML with another doctype.
 */
const tags = ['script', 'html', '!doctype html', 'iframe', '?php'].map((name) =>
  [...name].map((letter) => letter.charCodeAt(0)),
)

/**
 * Refuses a file that another program could open as something else: an archive, a document or a page. This is a second
 * barrier. The first is that nothing serves an original (decision 0047).
 */
export function refuseForeignContent(bytes: Uint8Array): void {
  const { length } = bytes
  for (let at = Math.max(0, length - ZIP_END_BYTES); at <= length - zipEnd.length; at++) {
    if (startsWith(bytes, at, zipEnd)) refuse('The file is also a ZIP archive')
  }
  for (let at = 0; at <= Math.min(PDF_BYTES, length) - pdf.length; at++) {
    if (startsWith(bytes, at, pdf)) refuse('The file is also a PDF')
  }
  for (let at = 0; at < length; at++) {
    if (bytes[at] === LESS_THAN && isTag(bytes, at + 1)) refuse('The file has HTML in it')
  }
}

function startsWith(bytes: Uint8Array, at: number, expected: number[]): boolean {
  for (let index = 0; index < expected.length; index++) if (bytes[at + index] !== expected[index]) return false
  return true
}

/** True if one of the tags begins at `at`, after its `<`. */
function isTag(bytes: Uint8Array, at: number): boolean {
  for (const name of tags) {
    let index = 0
    while (index < name.length && at + index < bytes.length && lower(bytes[at + index]) === name[index]) index++
    if (index === name.length && at + index < bytes.length && isAfterName(bytes[at + index])) return true
  }
  return false
}

const lower = (byte = 0): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)

/** White space, `/` or `>`. */
const isAfterName = (byte = 0): boolean => byte === 0x3e || byte === 0x2f || byte === 0x20 || (byte >= 9 && byte <= 13)
