import { imageMeta } from 'image-meta'
import { BanyanError, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'

export type PictureType = 'image/jpeg' | 'image/png' | 'image/webp' | 'image/avif' | 'image/gif'

export interface PictureFacts {
  type: PictureType
  /** Pixels as stored, before the orientation is applied. */
  width: number
  height: number
  /** As in EXIF, 1 to 8. */
  orientation: number
  frames: number
}

const types: Record<string, PictureType> = {
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  avif: 'image/avif',
  gif: 'image/gif',
}

/**
 * What the bytes of an upload are, before anything decodes them. Throws `PICTURE_TYPE` (415) and `PICTURE_TOO_LARGE`
 * (413).
 */
export function checkPicture(bytes: Uint8Array): PictureFacts {
  if (bytes.length > limits.pictureBytesMax) {
    throw new BanyanError('PICTURE_TOO_LARGE', `The picture has ${bytes.length} bytes`)
  }
  const meta = headerOf(bytes)
  const type = types[meta.type ?? '']
  if (type === undefined) throw new BanyanError('PICTURE_TYPE', 'The file is not a JPEG, PNG, WebP, AVIF or GIF')
  if (meta.width * meta.height > limits.picturePixelsMax) {
    throw new BanyanError('PICTURE_TOO_LARGE', `The picture has ${meta.width} × ${meta.height} pixels`)
  }
  return { type, width: meta.width, height: meta.height, orientation: meta.orientation ?? 1, frames: 1 }
}

/** The size in which the picture is shown, after its orientation is applied. */
export function displayedSize({ width, height, orientation }: PictureFacts): { width: number; height: number } {
  return orientation >= 5 ? { width: height, height: width } : { width, height }
}

function headerOf(bytes: Uint8Array): ReturnType<typeof imageMeta> {
  try {
    return imageMeta(bytes)
  } catch (error) {
    throw new BanyanError('PICTURE_TYPE', messageOf(error), { cause: error })
  }
}
