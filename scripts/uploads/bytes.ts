import { crc32 } from 'node:zlib'

/** Bytes are written as latin-1 text, numbers 0 to 255, or other bytes. */
export type Part = string | number | Uint8Array

export const join = (...parts: Part[]): Buffer =>
  Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(part, 'latin1')
      return typeof part === 'number' ? Buffer.of(part) : part
    }),
  )

/** A number in big-endian or little-endian order. */
export const big = (value: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  const low = Math.min(bytes, 6)
  buffer.writeUIntBE(value, bytes - low, low)
  return buffer
}
export const little = (value: number, bytes: number): Buffer => big(value, bytes).reverse()

/** `bytes` with others in place of those at `at`. */
export function patched(bytes: Uint8Array, at: number, ...parts: Part[]): Buffer {
  const copy = Buffer.from(bytes)
  join(...parts).copy(copy, at)
  return copy
}

export const inserted = (bytes: Uint8Array, at: number, ...parts: Part[]): Buffer =>
  join(bytes.subarray(0, at), ...parts, bytes.subarray(at))

/** The place of latin-1 text. */
export function placeOf(bytes: Uint8Array, text: string): number {
  const at = Buffer.from(bytes).indexOf(text, 0, 'latin1')
  if (at < 0) throw new Error(`There is no ${JSON.stringify(text)}.`)
  return at
}

export const jpegSegment = (marker: number, ...parts: Part[]): Buffer => {
  const data = join(...parts)
  return join(0xff, marker, big(data.length + 2, 2), data)
}

export const pngChunk = (type: string, ...parts: Part[]): Buffer => {
  const data = join(type, ...parts)
  return join(big(data.length - 4, 4), data, big(crc32(data), 4))
}

export const riffChunk = (type: string, ...parts: Part[]): Buffer => {
  const data = join(...parts)
  return join(type, little(data.length, 4), data, data.length % 2 === 1 ? 0 : '')
}

export const webp = (...chunks: Uint8Array[]): Buffer => riffChunk('RIFF', 'WEBP', ...chunks)

/** The chunks of a WebP. */
export const webpChunks = (bytes: Uint8Array): Uint8Array => bytes.subarray(12)

export const box = (type: string, ...parts: Part[]): Buffer => {
  const data = join(...parts)
  return join(big(data.length + 8, 4), type, data)
}

/** Data blocks of a GIF, of at most 255 bytes each. */
export function gifBlocks(data: Uint8Array): Buffer {
  const blocks: Part[] = []
  for (let at = 0; at < data.length; at += 255) {
    const block = data.subarray(at, at + 255)
    blocks.push(block.length, block)
  }
  return join(...blocks, 0)
}

/** A ZIP of one stored file. */
export function zip(name: string, text: string): Buffer {
  const data = Buffer.from(text)
  const facts = join(
    little(20, 2),
    little(0, 8),
    little(crc32(data), 4),
    little(data.length, 4),
    little(data.length, 4),
  )
  const local = join('PK\x03\x04', facts, little(name.length, 2), little(0, 2), name, data)
  const entry = join('PK\x01\x02', little(20, 2), facts, little(name.length, 2), Buffer.alloc(16), name)
  const end = join(
    little(0, 4),
    little(1, 2),
    little(1, 2),
    little(entry.length, 4),
    little(local.length, 4),
    little(0, 2),
  )
  return join(local, entry, 'PK\x05\x06', end)
}
