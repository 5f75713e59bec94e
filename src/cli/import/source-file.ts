import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { UserError } from '../shell/errors.ts'
import { type Decoder, decoderOf, type Encoding, encodingNames, encodingOf } from './encodings.ts'
import { inShell, refuseForeignBytes, refuseForeignText } from './foreign-files.ts'

const PIECE_BYTES = 1_048_576
/** The bytes that show a file's kind. Enough for a tar's mark and for the first lines of a dump. */
const HEAD_BYTES = 4_096
const GZIP = [0x1f, 0x8b]

/** Streams a file's text: decompressed and decoded. */
export class SourceFile {
  readonly #file: string
  readonly #encoding: Encoding | null
  readonly #columns: readonly string[]
  readonly #hash = createHash('sha256')
  #form: string[] = []
  #decoder: Decoder | null = null
  #isUtf8 = false

  /** `encoding`: the user's choice, if any. `columns`: likely columns, for an example in an error. */
  constructor(file: string, encoding: Encoding | null, columns: readonly string[]) {
    this.#file = file
    this.#columns = columns
    this.#encoding = encoding
  }

  /** The file's special properties: `gzip`, `UTF-16 LE`. */
  get form(): string[] {
    return this.#form
  }

  /** The file's SHA-256, after all of it was read. */
  fingerprint(): string {
    return this.#hash.digest('hex')
  }

  /** True if the file was read as UTF-8 and had invalid bytes, which became `NOT_TEXT`. */
  get hasOddUtf8(): boolean {
    return this.#isUtf8 && (this.#decoder?.hasOddBytes ?? false)
  }

  /**
   * The first piece has at least the first 4 kB. Throws UserError for an unreadable file, and for a file of another
   * format, with the command that converts it.
   */
  async *pieces(told: (fraction: number) => void): AsyncGenerator<string> {
    try {
      yield* this.#decoded(withHead(this.#gunzipped(withHead(this.#bytes(told)))))
    } catch (error) {
      throw explained(error, this.#file)
    }
  }

  async *#bytes(told: (fraction: number) => void): AsyncGenerator<Buffer> {
    const { size } = statSync(this.#file)
    let bytes = 0
    for await (const piece of createReadStream(this.#file, { highWaterMark: PIECE_BYTES })) {
      const chunk = piece as Buffer
      this.#hash.update(chunk)
      bytes += chunk.length
      yield chunk
      told(bytes / size)
    }
  }

  async *#gunzipped(chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
    try {
      const first = (await chunks.next()).value as Buffer | undefined
      if (!first) return
      const all = continued(first, chunks)
      if (!GZIP.every((byte, index) => first[index] === byte)) return yield* all
      this.#form.push('gzip')
      // The reader gets the errors, so the callback ignores them.
      yield* pipeline(all, createGunzip({ chunkSize: PIECE_BYTES }), () => undefined) as AsyncIterable<Buffer>
    } finally {
      await chunks.return(undefined)
    }
  }

  async *#decoded(chunks: AsyncGenerator<Buffer>): AsyncGenerator<string> {
    for await (const chunk of chunks) {
      if (this.#decoder) {
        yield this.#decoder.push(chunk)
        continue
      }
      this.#decoder = this.#decoderOf(chunk)
      const text = this.#decoder.push(chunk)
      refuseForeignText(text, this.#file, this.#columns)
      yield text.replace(/^\ufeff/, '')
    }
    yield this.#decoder?.end() ?? ''
  }

  #decoderOf(head: Buffer): Decoder {
    refuseForeignBytes(head, this.#file, this.#columns)
    const encoding = this.#encoding ?? encodingOf(head)
    this.#isUtf8 = encoding === 'utf-8'
    if (!this.#isUtf8) this.#form.push(encodingNames[encoding])
    return decoderOf(encoding)
  }
}

async function* continued(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield first
  yield* rest
}

/** Yields the bytes of `chunks`, with the first 4 kB in one piece. */
async function* withHead(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | null = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const piece: Buffer = head ? Buffer.concat([head, chunk]) : chunk
    head = head && piece.length < HEAD_BYTES ? piece : null
    if (!head) yield piece
  }
  if (head && head.length > 0) yield head
}

function explained(error: unknown, file: string): unknown {
  const { code = '', syscall, message } = error as NodeJS.ErrnoException
  if (syscall)
    return new UserError(
      `${file} can't be read: ${message}.`,
      'Pass a .sql dump or a .csv with a header that you have permission to read.',
    )
  if (code === 'Z_BUF_ERROR' || code === 'Z_DATA_ERROR')
    return new UserError(
      `${file} is compressed with gzip and damaged: ${message}.`,
      `Copy or export it again. To check a copy: gzip -t ${inShell(file)}`,
    )
  return error
}
