import { type PictureBytes, type PictureStructure, refuse } from './picture-bytes.ts'

const EXTENSION = 0x21
const IMAGE = 0x2c
const TRAILER = 0x3b

/** Walks all blocks and counts the images. */
export function walkGif(bytes: PictureBytes): PictureStructure {
  const width = bytes.u16LittleEndian(6)
  const height = bytes.u16LittleEndian(8)
  let frames = 0
  let at = 13 + colorTableLength(bytes.u8(10))
  while (true) {
    const block = bytes.u8(at)
    if (block === TRAILER) break
    if (block === EXTENSION) {
      at = endOfData(bytes, at + 2)
    } else if (block === IMAGE) {
      const right = bytes.u16LittleEndian(at + 1) + bytes.u16LittleEndian(at + 5)
      const bottom = bytes.u16LittleEndian(at + 3) + bytes.u16LittleEndian(at + 7)
      if (right > width || bottom > height) refuse('A frame of the GIF is larger than the picture')
      frames++
      at = endOfData(bytes, at + 11 + colorTableLength(bytes.u8(at + 9)))
    } else {
      refuse('The GIF is damaged')
    }
  }
  bytes.mustEnd(at + 1)
  if (frames === 0) refuse('The GIF has no image')
  return { width, height, orientation: 1, frames, pixels: frames * width * height }
}

const colorTableLength = (flags: number): number => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0)

/** The place after a list of data blocks, each of which begins with its length. An empty one ends the list. */
function endOfData(bytes: PictureBytes, from: number): number {
  let at = from
  for (let length = bytes.u8(at); length !== 0; length = bytes.u8(at)) at += length + 1
  return at + 1
}
