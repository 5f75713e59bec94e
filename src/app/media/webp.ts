import { exifOrientation } from './exif.ts'
import { type PictureBytes, type PictureStructure, refuse, type Size, tag } from './picture-bytes.ts'

const LOSSY = tag('VP8 ')
const LOSSLESS = tag('VP8L')
const EXTENDED = tag('VP8X')
const FRAME = tag('ANMF')
const EXIF = tag('EXIF')
const ANIMATED = 0x02
const FRAME_HEADER_BYTES = 16

interface Chunk {
  type: number
  data: number
  length: number
}

/** Walks all chunks, also those inside frames, and compares each bitstream's size with the one stated around it. */
export function walkWebp(bytes: PictureBytes): PictureStructure {
  const end = 8 + bytes.u32LittleEndian(4)
  if (end > bytes.end) refuse('The picture is incomplete')
  bytes.mustEnd(end)
  const riff = bytes.until(end)

  let canvas: Size | undefined
  let isAnimated = false
  let images = 0
  let frames = 0
  let orientation: number | undefined
  for (const { type, data, length } of chunks(riff, 12)) {
    if (type === EXTENDED) {
      if (data !== 20 || length < 10) refuse('The WebP is damaged')
      isAnimated = (riff.u8(data) & ANIMATED) !== 0
      canvas = { width: 1 + riff.u24LittleEndian(data + 4), height: 1 + riff.u24LittleEndian(data + 7) }
    } else if (type === LOSSY || type === LOSSLESS) {
      images++
      canvas ??= bitstreamSize(riff, { type, data, length })
      mustEqual(bitstreamSize(riff, { type, data, length }), canvas)
    } else if (type === FRAME) {
      if (canvas === undefined) refuse('The WebP is damaged')
      walkFrame(riff.until(data + length), data, canvas)
      frames++
    } else if (type === EXIF) {
      orientation ??= exifOrientation(riff.until(data + length), data)
    }
  }
  if (canvas === undefined) refuse('The WebP has no image')
  if (isAnimated ? frames === 0 || images > 0 : frames > 0 || images !== 1) refuse('The WebP is damaged')
  const count = isAnimated ? frames : 1
  const pixels = count * canvas.width * canvas.height
  return { ...canvas, orientation: orientation ?? 1, frames: count, pixels }
}

/** A frame has its place on the canvas, and then the chunks of one image. */
function walkFrame(frame: PictureBytes, data: number, canvas: Size): void {
  const size = { width: 1 + frame.u24LittleEndian(data + 6), height: 1 + frame.u24LittleEndian(data + 9) }
  const right = 2 * frame.u24LittleEndian(data) + size.width
  const bottom = 2 * frame.u24LittleEndian(data + 3) + size.height
  if (right > canvas.width || bottom > canvas.height) refuse('A frame of the WebP is larger than the picture')
  let images = 0
  for (const chunk of chunks(frame, data + FRAME_HEADER_BYTES)) {
    if (chunk.type !== LOSSY && chunk.type !== LOSSLESS) continue
    mustEqual(bitstreamSize(frame, chunk), size)
    images++
  }
  if (images !== 1) refuse('The WebP is damaged')
}

function* chunks(bytes: PictureBytes, from: number): Generator<Chunk> {
  for (let at = from; at < bytes.end; ) {
    const length = bytes.u32LittleEndian(at + 4)
    if (at + 8 + length > bytes.end) refuse('The picture is incomplete')
    yield { type: bytes.u32(at), data: at + 8, length }
    at += 8 + length + (length % 2)
  }
}

function bitstreamSize(bytes: PictureBytes, { type, data }: Chunk): Size {
  if (type === LOSSLESS) {
    if (bytes.u8(data) !== 0x2f) refuse('The WebP is damaged')
    const sizes = bytes.u32LittleEndian(data + 1)
    return { width: 1 + (sizes & 0x3fff), height: 1 + ((sizes >>> 14) & 0x3fff) }
  }
  const isKeyFrame = (bytes.u8(data) & 1) === 0
  if (!isKeyFrame || !bytes.has(data + 3, '\x9d\x01\x2a')) refuse('The WebP is damaged')
  return { width: bytes.u16LittleEndian(data + 6) & 0x3fff, height: bytes.u16LittleEndian(data + 8) & 0x3fff }
}

function mustEqual(size: Size, stated: Size): void {
  if (size.width !== stated.width || size.height !== stated.height) refuse('The WebP states another size than it has')
}
