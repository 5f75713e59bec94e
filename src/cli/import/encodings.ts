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

/** Of `--encoding`. Latin-1 is read as Windows-1252, which has letters where Latin-1 has control characters. */
export function readEncoding(text: string | undefined): Encoding | null {
  if (text === undefined) return null
  const name = text.toLowerCase() === 'latin1' ? 'windows-1252' : text.toLowerCase()
  if (Object.hasOwn(encodingNames, name)) return name as Encoding
  throw new UserError(
    `--encoding is "${text}".`,
    `It may be ${Object.keys(encodingNames).join(', ')}. For another, convert the file: iconv -f ENCODING -t UTF-8`,
  )
}

/** Told from the first bytes: a byte order mark, or the zeros that UTF-16 has beside ASCII. Throws UserError for UTF-32. */
export function encodingOf(head: Buffer): Encoding {
  const [a, b, c, d] = head
  if ((a === 0xff && b === 0xfe && c === 0 && d === 0) || (a === 0 && b === 0 && c === 0xfe && d === 0xff))
    throw new UserError('The file is UTF-32.', 'Convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW_FILE')
  if ((a === 0xff && b === 0xfe) || (a && b === 0 && c && d === 0)) return 'utf-16le'
  if ((a === 0xfe && b === 0xff) || (a === 0 && b && c === 0 && d)) return 'utf-16be'
  return 'utf-8'
}

/** Decodes as the bytes come. What is no text becomes `NOT_TEXT`; all other text stays as it is. */
export interface Decoder {
  readonly hasOddBytes: boolean
  push(chunk: Buffer): string
  end(): string
}

export function decoderOf(encoding: Encoding): Decoder {
  if (encoding === 'utf-8') return new WholeCharacters(unfinishedUtf8, decodeUtf8)
  if (encoding === 'utf-16le') return new WholeCharacters(unfinishedUtf16(1), decodeUtf16)
  if (encoding === 'utf-16be') return new WholeCharacters(unfinishedUtf16(0), (bytes) => decodeUtf16(swapped(bytes)))
  // Each byte is a character: nothing is odd, and nothing is left for the end.
  const decoder = new TextDecoder(encoding)
  return { hasOddBytes: false, push: (chunk) => decoder.decode(chunk), end: () => '' }
}

/** Keeps the last bytes of a chunk back where they are a character's beginning. */
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

  /** Half a character at the end is no text. */
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
  // A decoder puts U+FFFD for what it can't read. Where the file itself has one, the bytes between are read apart.
  const parts: string[] = []
  for (let start = 0; ; ) {
    const end = bytes.indexOf(REPLACEMENT, start)
    const part = bytes.subarray(start, end < 0 ? bytes.length : end)
    parts.push(part.toString().replaceAll('\ufffd', NOT_TEXT))
    if (end < 0) return parts.join('\ufffd')
    start = end + REPLACEMENT.length
  }
}

/** Half a unit, and a high surrogate before its low one. `high`: where in a unit its high byte stands. */
const unfinishedUtf16 =
  (high: 0 | 1) =>
  (bytes: Buffer): number => {
    const odd = bytes.length % 2
    const last = bytes[bytes.length - odd - 2 + high]
    return odd + (last !== undefined && last >= 0xd8 && last <= 0xdb ? 2 : 0)
  }

/** With the bytes of each unit turned round; half a unit stays. */
function swapped(bytes: Buffer): Buffer {
  const whole = bytes.length - (bytes.length % 2)
  return Buffer.concat([Buffer.from(bytes.subarray(0, whole)).swap16(), bytes.subarray(whole)])
}

/** Half a surrogate pair, or half a unit, is no text. */
function decodeUtf16(bytes: Buffer): string {
  const text = bytes.toString('utf16le').replaceAll(/\p{Cs}/gu, NOT_TEXT)
  return bytes.length % 2 === 0 ? text : text + NOT_TEXT
}
