import { BanyanError } from '../../core/errors.ts'

/** The chunks that make the picture. All others are metadata: EXIF, XMP, colour profiles, and unknown ones. */
const PICTURE_CHUNKS = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF'])

/** The flags of VP8X for an ICC profile, EXIF and XMP. */
const METADATA_FLAGS = 0x20 | 0x08 | 0x04

const HEADER_BYTES = 12

/**
 * The WebP file with no chunk but the picture's own (RFC 9649, 2.7). Nothing of an upload's metadata is published, even
 * if a transformation keeps some. Throws PICTURE_TYPE for other bytes.
 */
export function bareWebp(bytes: Uint8Array): Uint8Array {
  const file = Buffer.from(bytes)
  const isWebp = file.length > HEADER_BYTES && textAt(file, 0) === 'RIFF' && textAt(file, 8) === 'WEBP'
  if (!isWebp) throw notWebp()
  const kept: Buffer[] = []
  for (let at = HEADER_BYTES; at + 8 <= file.length; ) {
    const length = file.readUInt32LE(at + 4)
    const end = at + 8 + length + (length % 2)
    if (at + 8 + length > file.length) throw notWebp()
    const name = textAt(file, at)
    if (PICTURE_CHUNKS.has(name))
      kept.push(name === 'VP8X' ? withoutFlags(file.subarray(at, end)) : file.subarray(at, end))
    at = end
  }
  const bare = Buffer.concat([file.subarray(0, HEADER_BYTES), ...kept])
  bare.writeUInt32LE(bare.length - 8, 4)
  return new Uint8Array(bare.buffer, bare.byteOffset, bare.length)
}

function withoutFlags(chunk: Buffer): Buffer {
  const copy = Buffer.from(chunk)
  copy.writeUInt8(copy.readUInt8(8) & ~METADATA_FLAGS, 8)
  return copy
}

const textAt = (file: Buffer, at: number): string => file.toString('latin1', at, at + 4)

const notWebp = () => new BanyanError('PICTURE_TYPE', 'The transformed picture is not a whole WebP file.')
