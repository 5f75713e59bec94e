import type { PictureType } from '../../src/app/media/picture-checks.ts'

/** A file that the checks accept, and what they find. */
export interface AcceptedUpload {
  file: string
  type: PictureType
  /** As stored. */
  width: number
  height: number
  orientation: number
  frames: number
  /** The size in which it is shown, and which its variants keep in proportion. */
  shown: { width: number; height: number }
  /** The colours of `corners` (scripts/uploads/pixels.ts), when it is shown. */
  hasCorners: boolean
  /** Without it, the transformation refuses the file, because its pixels are damaged. */
  isDecodable: boolean
}

export interface RefusedUpload {
  file: string
  code: 'PICTURE_TYPE' | 'PICTURE_TOO_LARGE'
  /** The start of the error's detail. */
  detail: string
}

const types: Record<string, PictureType> = {
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  avif: 'image/avif',
  gif: 'image/gif',
}

/** By default, a picture of four colours, 48 × 32. */
function accepted(file: string, more: Partial<AcceptedUpload> = {}): AcceptedUpload {
  const { width = 48, height = 32, orientation = 1, hasCorners = true } = more
  const shown = orientation >= 5 ? { width: height, height: width } : { width, height }
  const type = types[file.slice(file.lastIndexOf('.') + 1)]
  if (type === undefined) throw new Error(`${file} has no extension of a picture.`)
  return { frames: 1, isDecodable: true, ...more, file, type, width, height, orientation, shown, hasCorners }
}

const plain = { hasCorners: false }
const turned = { width: 32, height: 48 }
const dot = { width: 1, height: 1, ...plain }

export const acceptedUploads: AcceptedUpload[] = [
  accepted('orientation-1.jpg'),
  accepted('orientation-2.jpg', { orientation: 2 }),
  accepted('orientation-3.jpg', { orientation: 3 }),
  accepted('orientation-4.jpg', { orientation: 4 }),
  accepted('orientation-5.jpg', { orientation: 5, ...turned }),
  accepted('orientation-6.jpg', { orientation: 6, ...turned }),
  accepted('orientation-7.jpg', { orientation: 7, ...turned }),
  accepted('orientation-8.jpg', { orientation: 8, ...turned }),
  accepted('orientation-6.png', { orientation: 6, ...turned }),
  accepted('orientation-6.webp', { orientation: 6, ...turned }),
  accepted('orientation-6.avif', { orientation: 6, ...turned }),

  // EXIF with a place, XMP, IPTC, a colour profile and comments
  accepted('gps.jpg', { orientation: 6, ...turned }),
  accepted('metadata.jpg'),
  accepted('printed.jpg'),
  accepted('metadata.png'),
  accepted('metadata.webp'),
  accepted('metadata.avif'),
  accepted('metadata.gif'),

  accepted('cmyk.jpg', plain), // its red is another one
  accepted('progressive.jpg'),
  accepted('grey.jpg', plain),
  accepted('restarts.jpg', { width: 8, height: 8 }),
  accepted('fill-bytes.jpg'),
  accepted('grey.png', plain),
  accepted('depth-16.png'),
  accepted('palette.png'),
  accepted('interlaced.png'),
  accepted('padded.png'),
  accepted('lossless.webp'),
  accepted('lossy.webp'),
  accepted('alpha.webp'),
  accepted('still.avif'),
  accepted('cropped.avif', { width: 24, height: 16 }),
  accepted('still.gif'),
  accepted('dot.jpg', dot),
  accepted('dot.png', dot),
  accepted('dot.webp', dot),
  accepted('dot.gif', dot),
  accepted('dot.avif', dot),
  accepted('long.png', { width: 12_000, height: 2, ...plain }),
  accepted('high.jpg', { width: 2, height: 8_000, ...plain }),
  accepted('animated.gif', { frames: 3 }),
  accepted('animated.webp', { frames: 3 }),
  accepted('animated.png', { frames: 3, ...plain }),
  accepted('hidden-image.png', { frames: 3, ...plain }), // two frames, and an image for programs without animations

  // What phones write after a JPEG
  accepted('motion-photo.jpg'),
  accepted('two-pictures.jpg'),
  accepted('notes-after.jpg'),

  accepted('broken-pixels.png', { isDecodable: false, ...plain }),
  accepted('missing-half.jpg', { isDecodable: false, width: 160, height: 120, ...plain }),
]

/** Made when a test needs it: 12 million pixels, with a place, from a phone held upright. */
export const photoUpload = accepted('photo-12-megapixels.jpg', {
  width: 4_000,
  height: 3_000,
  orientation: 6,
  ...plain,
})

const refused = (code: RefusedUpload['code'], detail: string, ...files: string[]): RefusedUpload[] =>
  files.map((file) => ({ file, code, detail }))
const wrong = (detail: string, ...files: string[]) => refused('PICTURE_TYPE', detail, ...files)
const tooLarge = (detail: string, ...files: string[]) =>
  refused('PICTURE_TOO_LARGE', `The picture has ${detail}`, ...files)

export const refusedUploads: RefusedUpload[] = [
  ...tooLarge('256,000,000 pixels', 'bomb.png', 'bomb-canvas.webp'),
  ...tooLarge('3,600,000,000 pixels', 'bomb.jpg'),
  ...tooLarge('400,000,000 pixels', 'bomb.avif'),
  ...tooLarge('4,294,836,225 pixels', 'bomb-canvas.gif'),
  ...tooLarge('51,000,000 pixels in all frames', 'bomb-frames.gif', 'bomb-frames.png', 'bomb-frames.webp'),
  ...tooLarge('1,001 frames', 'many-frames.gif'),
  ...tooLarge('12,001 pixels on a side', 'too-long.png'),

  ...wrong('The picture is incomplete', 'truncated.jpg', 'without-end.jpg', 'header-only.jpg'),
  ...wrong('The picture is incomplete', 'truncated.png', 'without-end.png', 'truncated.gif', 'without-end.gif'),
  ...wrong('The picture is incomplete', 'truncated.webp', 'long-header.webp', 'truncated.avif'),

  ...wrong('The file is not a JPEG, PNG', 'empty.jpg', 'text.jpg', 'svg.png', 'svg-after-space.png', 'page.gif'),
  ...wrong('The file is not a JPEG, PNG', 'zip.png', 'document.jpg', 'windows.jpg', 'tagged.jpg', 'phone.heic'),
  ...wrong('The AVIF is an animation', 'animated.avif'),
  ...wrong('The JPEG has a coding that browsers do not show', 'arithmetic.jpg'),

  ...wrong('The file is also a ZIP archive', 'zip-after.jpg', 'zip-inside.png'),
  ...wrong('The file is also a PDF', 'pdf-inside.jpg'),
  ...wrong('The file has HTML in it', 'script-inside.jpg', 'script-inside.png', 'script-inside.gif'),
  ...wrong('The file has HTML in it', 'script-after.jpg', 'php-inside.gif'),
  ...wrong('The file has other content after', 'text-after.png', 'text-after.gif', 'text-after.webp', 'zip-after.gif'),
  ...wrong('The picture is incomplete', 'text-after.avif'), // its next box would be larger than the file

  ...wrong('The picture states two sizes', 'unused-crop.avif'),
  ...wrong('The AVIF shows more than it has', 'large-crop.avif'),
  ...wrong('The JPEG has two sizes', 'two-sizes.jpg'),
  ...wrong('The JPEG has too many scans', 'many-scans.jpg'),
  ...wrong('The PNG has two headers', 'two-headers.png'),
  ...wrong('The PNG is damaged', 'apple.png', 'damaged-header.png'),
  ...wrong('The PNG states another number of frames', 'hidden-frames.png'),
  ...wrong('A frame of the GIF is larger', 'large-frame.gif'),
  ...wrong('A frame of the WebP is larger', 'large-frame.webp'),
  ...wrong('The WebP states another size', 'small-header.webp', 'large-image.webp'),
]

/** Made when a test needs it. */
export const heavyUpload: RefusedUpload = {
  file: 'too-many-bytes.png',
  code: 'PICTURE_TOO_LARGE',
  detail: 'The picture has 10,000,0',
}
