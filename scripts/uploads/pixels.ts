import { deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { big, join, little, pngChunk, riffChunk, webp, webpChunks } from './bytes.ts'

interface Pixels {
  width: number
  height: number
  /** Three bytes per pixel. */
  data: Buffer
}

/** Colours of the corners as shown: top left, top right, bottom left, bottom right. */
export const corners = {
  topLeft: [230, 30, 30],
  topRight: [30, 180, 30],
  bottomLeft: [30, 30, 230],
  bottomRight: [240, 220, 40],
} as const

/** Where a pixel is stored that is shown at (x, y) of a picture of `width` × `height`. */
function placeOf(orientation: number, x: number, y: number, width: number, height: number): [number, number] {
  const [right, bottom] = [width - 1 - x, height - 1 - y]
  const places: [number, number][] = [
    [x, y],
    [right, y],
    [right, bottom],
    [x, bottom],
    [y, x],
    [y, right],
    [bottom, right],
    [bottom, x],
  ]
  return places[orientation - 1] ?? [x, y]
}

/** Four areas of different colours, stored so that `orientation` shows them upright. */
export function quarters(width: number, height: number, orientation = 1): Pixels {
  const isTurned = orientation >= 5
  const stored = { width: isTurned ? height : width, height: isTurned ? width : height }
  const data = Buffer.alloc(width * height * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [left, top] = [x < width / 2, y < height / 2]
      const [onLeft, onRight] = top ? [corners.topLeft, corners.topRight] : [corners.bottomLeft, corners.bottomRight]
      const [storedX, storedY] = placeOf(orientation, x, y, width, height)
      data.set(left ? onLeft : onRight, (storedY * stored.width + storedX) * 3)
    }
  }
  return { ...stored, data }
}

export const encoder = ({ width, height, data }: Pixels) => sharp(data, { raw: { width, height, channels: 3 } })

/** Grain and soft forms, so that a JPEG of it is as large as a photo's. Always the same. */
export function photo(width: number, height: number): Pixels {
  const data = Buffer.alloc(width * height * 3)
  let seed = 1
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      const grain = (seed >>> 28) - 8
      data[at++] = ((x * 255) / width + grain) & 0xff
      data[at++] = ((y * 255) / height + grain) & 0xff
      data[at++] = (128 + ((x ^ y) & 63) + grain) & 0xff
    }
  }
  return { width, height, data }
}

const PNG_START = '\x89PNG\r\n\x1a\n'
const header = (width: number, height: number) => pngChunk('IHDR', big(width, 4), big(height, 4), 1, 0, 0, 0, 0)
/** All pixels of a PNG of one bit per pixel, compressed to a thousandth. */
const blackPixels = (width: number, height: number) =>
  deflateSync(Buffer.alloc((1 + Math.ceil(width / 8)) * height), { level: 9 })

export const blackPng = (width: number, height: number): Buffer =>
  join(PNG_START, header(width, height), pngChunk('IDAT', blackPixels(width, height)), pngChunk('IEND'))

/** An APNG whose default image is its first frame. `stated` is the number of frames in its header. */
export function blackApng(width: number, height: number, frames: number, stated = frames): Buffer {
  const pixels = blackPixels(width, height)
  const parts: Buffer[] = []
  let order = 0
  for (let frame = 0; frame < frames; frame++) {
    const size = join(big(width, 4), big(height, 4), big(0, 4), big(0, 4))
    parts.push(pngChunk('fcTL', big(order++, 4), size, big(1, 2), big(10, 2), 0, 0))
    parts.push(frame === 0 ? pngChunk('IDAT', pixels) : pngChunk('fdAT', big(order++, 4), pixels))
  }
  const animation = pngChunk('acTL', big(stated, 4), big(0, 4))
  return join(PNG_START, header(width, height), animation, ...parts, pngChunk('IEND'))
}

/** A GIF whose only image is repeated. */
export async function repeatedGif(width: number, height: number, frames: number): Promise<Buffer> {
  const gif = await sharp({ create: { width, height, channels: 3, background: 'black' } })
    .gif()
    .toBuffer()
  const start = 13 + 3 * 2 ** ((gif.readUInt8(10) & 7) + 1)
  return join(
    gif.subarray(0, start),
    ...Array.from({ length: frames }, () => gif.subarray(start, -1)),
    gif.subarray(-1),
  )
}

/** An animated WebP of frames of one colour, each at the top left. `image` is the size of what the frames contain. */
export async function repeatedWebp(
  canvas: [number, number],
  frame: [number, number],
  frames: number,
  image = frame,
): Promise<Buffer> {
  const [width, height] = frame
  const still = await sharp({ create: { width: image[0], height: image[1], channels: 3, background: 'black' } })
    .webp({ lossless: true })
    .toBuffer()
  const data = join(little(0, 6), little(width - 1, 3), little(height - 1, 3), little(100, 3), 0, webpChunks(still))
  return webp(
    riffChunk('VP8X', 0x02, 0, 0, 0, little(canvas[0] - 1, 3), little(canvas[1] - 1, 3)),
    riffChunk('ANIM', little(0, 6)),
    ...Array.from({ length: frames }, () => riffChunk('ANMF', data)),
  )
}
