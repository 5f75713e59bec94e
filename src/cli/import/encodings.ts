import { isUtf8 } from 'node:buffer'
import { UserError } from '../shell/errors.ts'
import { NOT_TEXT } from './odd-text.ts'

export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'

export const encodingNames: Record<Encoding, string> = {
  'utf-8': 'UTF-8',
  'utf-16le': 'UTF-16 LE',
  'utf-16be': 'UTF-16 BE',
  'windows-1252': 'Windows-1252',
}

/** Reads `--encoding`. Latin-1 is read as Windows-1252, which has letters in place of Latin-1's control characters. */
export function readEncoding(text: string | undefined): Encoding | null {
  if (text === undefined) return null
  const name = text.toLowerCase() === 'latin1' ? 'windows-1252' : text.toLowerCase()
  if (Object.hasOwn(encodingNames, name)) return name as Encoding
  throw new UserError(
    `--encoding is "${text}".`,
    `Pass one of ${Object.keys(encodingNames).join(', ')}. If the file has another, convert it: iconv -f ENCODING -t UTF-8`,
  )
}

/** Detects the encoding from a byte order mark or from UTF-16's zero bytes. Throws UserError for UTF-32. */
export function encodingOf(head: Buffer): Encoding {
  const [a, b, c, d] = head
  if ((a === 0xff && b === 0xfe && c === 0 && d === 0) || (a === 0 && b === 0 && c === 0xfe && d === 0xff))
    throw new UserError(
      'The file is UTF-32, which an import does not read.',
      'Convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW_FILE',
    )
  if ((a === 0xff && b === 0xfe) || (a && b === 0 && c && d === 0)) return 'utf-16le'
  if ((a === 0xfe && b === 0xff) || (a === 0 && b && c === 0 && d)) return 'utf-16be'
  return 'utf-8'
}

/** Decodes a stream of bytes. Invalid bytes become `NOT_TEXT`; all other text stays as it is. */
export interface Decoder {
  readonly hasOddBytes: boolean
  push(chunk: Buffer): string
  end(): string
}

export function decoderOf(encoding: Encoding): Decoder {
  if (encoding === 'utf-8') return new WholeCharacters(unfinishedUtf8, decodeUtf8)
  if (encoding === 'utf-16le') return new WholeCharacters(unfinishedUtf16(1), decodeUtf16)
  if (encoding === 'utf-16be') return new WholeCharacters(unfinishedUtf16(0), (bytes) => decodeUtf16(swapped(bytes)))
  // Each byte is a character, so no byte is invalid and none is left for the end.
  const decoder = new TextDecoder(encoding)
  return { hasOddBytes: false, push: (chunk) => decoder.decode(chunk), end: () => '' }
}

/** Decodes whole characters. Keeps the incomplete character at the end of a chunk for the next chunk. */
class WholeCharacters implements Decoder {
  readonly #unfinished: (bytes: Buffer) => number
  readonly #decode: (bytes: Buffer) => string
  #kept = Buffer.alloc(0)
  hasOddBytes = false

  constructor(unfinished: (bytes: Buffer) => number, decode: (bytes: Buffer) => string) {
    this.#unfinished = unfinished
    this.#decode = decode
  }

  push(chunk: Buffer): string {
    const bytes = this.#kept.length > 0 ? Buffer.concat([this.#kept, chunk]) : chunk
    const whole = bytes.length - this.#unfinished(bytes)
    this.#kept = Buffer.from(bytes.subarray(whole))
    return this.#read(bytes.subarray(0, whole))
  }

  /** An incomplete character at the end of the file is invalid. */
  end(): string {
    return this.#kept.length > 0 ? this.#read(this.#kept) : ''
  }

  #read(bytes: Buffer): string {
    const text = this.#decode(bytes)
    this.hasOddBytes ||= text.includes(NOT_TEXT)
    return text
  }
}

function unfinishedUtf8(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes.readUInt8(bytes.length - back)
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? back : 0
  }
  return 0
}

const REPLACEMENT = Buffer.from('\ufffd')

function decodeUtf8(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString()
  // A decoder writes U+FFFD for invalid bytes. To keep those of the file itself, decode the bytes between them apart.
  const parts: string[] = []
  for (let start = 0; ; ) {
    const end = bytes.indexOf(REPLACEMENT, start)
    const part = bytes.subarray(start, end < 0 ? bytes.length : end)
    parts.push(part.toString().replaceAll('\ufffd', NOT_TEXT))
    if (end < 0) return parts.join('\ufffd')
    start = end + REPLACEMENT.length
  }
}

/**
 * Counts the bytes at the end that are half a unit, or a high surrogate whose low surrogate has yet to come. `high`: the
 * index of the high byte in a unit.
 */
const unfinishedUtf16 =
  (high: 0 | 1) =>
  (bytes: Buffer): number => {
    const odd = bytes.length % 2
    const last = bytes[bytes.length - odd - 2 + high]
    return odd + (last !== undefined && last >= 0xd8 && last <= 0xdb ? 2 : 0)
  }

/** Swaps the bytes of each unit. Half a unit at the end stays. */
function swapped(bytes: Buffer): Buffer {
  const whole = bytes.length - (bytes.length % 2)
  return Buffer.concat([Buffer.from(bytes.subarray(0, whole)).swap16(), bytes.subarray(whole)])
}

/** A lone surrogate and half a unit are invalid. */
function decodeUtf16(bytes: Buffer): string {
  const text = bytes.toString('utf16le').replaceAll(/\p{Cs}/gu, NOT_TEXT)
  return bytes.length % 2 === 0 ? text : text + NOT_TEXT
}
