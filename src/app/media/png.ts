import { exifOrientation } from './exif.ts'
import { type PictureBytes, type PictureStructure, refuse, tag } from './picture-bytes.ts'

const IHDR = tag('IHDR')
const IDAT = tag('IDAT')
const IEND = tag('IEND')
const EXIF = tag('eXIf')
const ANIMATION = tag('acTL')
const FRAME = tag('fcTL')

/** Walks all chunks. An animation's frames are counted by their chunks, not by the number that its header states. */
export function walkPng(bytes: PictureBytes): PictureStructure {
  if (bytes.u32(12) !== IHDR || bytes.u32(8) !== 13) refuse('The PNG is damaged')
  const width = bytes.u32(16)
  const height = bytes.u32(20)

  let frames = 0
  let framesStated: number | undefined
  let imageAt: 'before' | 'inside' | 'after' = 'before'
  let isImageHidden = false
  let orientation: number | undefined
  let at = 8
  while (true) {
    const length = bytes.u32(at)
    const type = bytes.u32(at + 4)
    const data = at + 8
    const next = data + length + 4
    if (next > bytes.end) refuse('The picture is incomplete')

    if (type !== IDAT && imageAt === 'inside') imageAt = 'after'
    if (type === IHDR) {
      if (at !== 8) refuse('The PNG has two headers')
      mustHaveSum(bytes, at + 4, data + length)
    } else if (type === IDAT) {
      if (imageAt === 'after') refuse('The PNG is damaged')
      if (imageAt === 'before') isImageHidden = frames === 0
      imageAt = 'inside'
    } else if (type === ANIMATION) {
      if (framesStated !== undefined || imageAt !== 'before' || length !== 8) refuse('The PNG is damaged')
      framesStated = bytes.u32(data)
    } else if (type === FRAME) {
      if (length !== 26) refuse('The PNG is damaged')
      const right = bytes.u32(data + 12) + bytes.u32(data + 4)
      const bottom = bytes.u32(data + 16) + bytes.u32(data + 8)
      if (right > width || bottom > height) refuse('A frame of the PNG is larger than the picture')
      frames++
    } else if (type === EXIF) {
      orientation ??= exifOrientation(bytes.until(data + length), data)
    } else if (type === IEND) {
      if (length !== 0) refuse('The PNG is damaged')
      bytes.mustEnd(next)
      break
    }
    at = next
  }
  if (imageAt === 'before') refuse('The PNG has no image')
  if ((framesStated ?? 0) !== frames) refuse('The PNG states another number of frames than it has')
  const images = frames + (isImageHidden ? 1 : 0)
  return { width, height, orientation: orientation ?? 1, frames: images, pixels: images * width * height }
}

/** Compares the checksum after `[start, end)`. Only the header's is checked, because decoders check the rest. */
function mustHaveSum(bytes: PictureBytes, start: number, end: number): void {
  let sum = 0xffffffff
  for (let at = start; at < end; at++) {
    sum ^= bytes.u8(at)
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  if (bytes.u32(end) !== ~sum >>> 0) refuse('The PNG is damaged')
}
