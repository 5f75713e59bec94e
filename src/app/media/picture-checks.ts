import { imageMeta } from 'image-meta'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { walkAvif } from './avif.ts'
import { refuseForeignContent } from './foreign-content.ts'
import { walkGif } from './gif.ts'
import { walkJpeg } from './jpeg.ts'
import { PictureBytes, type PictureStructure, refuse, type Size } from './picture-bytes.ts'
import { walkPng } from './png.ts'
import { walkWebp } from './webp.ts'

export type PictureType = 'image/jpeg' | 'image/png' | 'image/webp' | 'image/avif' | 'image/gif'

export interface PictureFacts {
  type: PictureType
  /** Pixels as stored, before the orientation is applied. */
  width: number
  height: number
  /** As in EXIF, 1 to 8. */
  orientation: number
  /** Images of an animation, or 1. */
  frames: number
}

interface Format {
  type: PictureType
  /** As `image-meta` calls it. */
  name: string
  isHere(bytes: PictureBytes): boolean
  walk(bytes: PictureBytes): PictureStructure
}

const formats: Format[] = [
  { type: 'image/jpeg', name: 'jpg', isHere: (bytes) => bytes.has(0, '\xff\xd8\xff'), walk: walkJpeg },
  { type: 'image/png', name: 'png', isHere: (bytes) => bytes.has(0, '\x89PNG\r\n\x1a\n'), walk: walkPng },
  {
    type: 'image/gif',
    name: 'gif',
    isHere: (bytes) => bytes.has(0, 'GIF87a') || bytes.has(0, 'GIF89a'),
    walk: walkGif,
  },
  { type: 'image/webp', name: 'webp', isHere: (bytes) => bytes.has(0, 'RIFF') && bytes.has(8, 'WEBP'), walk: walkWebp },
  { type: 'image/avif', name: 'avif', isHere: (bytes) => bytes.has(4, 'ftyp'), walk: walkAvif },
]

const UNKNOWN = 'The file is not a JPEG, PNG, WebP, AVIF or GIF, whatever its name says'

/**
 * What the bytes of an upload are, before anything decodes them. It reads each byte a bounded number of times. Throws
 * `PICTURE_TYPE` (415) and `PICTURE_TOO_LARGE` (413).
 */
export function checkPicture(bytes: Uint8Array): PictureFacts {
  if (bytes.length > limits.pictureBytesMax) tooLarge('bytes', bytes.length, limits.pictureBytesMax)
  const picture = new PictureBytes(bytes)
  const format = formats.find(({ isHere }) => isHere(picture))
  if (format === undefined) refuse(UNKNOWN)

  const structure = format.walk(picture)
  mustBeSmall(structure)
  const header = headerOf(bytes)
  if (header.type !== format.name) refuse(UNKNOWN)
  if (!isSameSize(header, structure, format)) refuse('The picture states two sizes')
  refuseForeignContent(bytes)
  const { width, height, orientation, frames } = structure
  return { type: format.type, width, height, orientation, frames }
}

/** The size in which the picture is shown, after its orientation is applied. */
export function displayedSize({ width, height, orientation }: PictureFacts): Size {
  return orientation >= 5 ? { width: height, height: width } : { width, height }
}

function mustBeSmall({ width, height, frames, pixels }: PictureStructure): void {
  const { picturePixelsMax, pictureSideMax, pictureFramesMax } = limits
  if (width === 0 || height === 0) refuse('The picture has no pixels')
  if (pixels > picturePixelsMax) tooLarge('pixels in all frames together', pixels, picturePixelsMax)
  if (Math.max(width, height) > pictureSideMax) tooLarge('pixels on a side', Math.max(width, height), pictureSideMax)
  if (frames > pictureFramesMax) tooLarge('frames', frames, pictureFramesMax)
}

function tooLarge(what: string, found: number, max: number): never {
  const inWords = (number: number) => number.toLocaleString('en')
  throw new BanyanError(
    'PICTURE_TOO_LARGE',
    `The picture has ${inWords(found)} ${what}, and ${inWords(max)} are allowed. Send a smaller one.`,
  )
}

/** Of an AVIF, `image-meta` takes the largest size, which may be another item’s. */
function isSameSize(header: Size, structure: PictureStructure, { type }: Format): boolean {
  return type === 'image/avif'
    ? header.width * header.height <= structure.pixels
    : header.width === structure.width && header.height === structure.height
}

/** The header as a second reader sees it, which throws a `TypeError` for what it does not understand. */
function headerOf(bytes: Uint8Array): ReturnType<typeof imageMeta> {
  try {
    return imageMeta(bytes)
  } catch (error) {
    throw new BanyanError('PICTURE_TYPE', undefined, { cause: error })
  }
}
