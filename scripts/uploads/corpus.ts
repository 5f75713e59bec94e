import sharp, { type Sharp } from 'sharp'
import {
  big,
  box,
  gifBlocks,
  inserted,
  join,
  jpegSegment,
  little,
  patched,
  placeOf,
  pngChunk,
  riffChunk,
  webp,
  webpChunks,
  zip,
} from './bytes.ts'
import { exif, exifWithPlace, iptc, MAKER, print, xmp } from './metadata.ts'
import { blackApng, blackPng, encoder, photo, quarters, repeatedGif, repeatedWebp } from './pixels.ts'

export type Uploads = Record<string, Uint8Array>

const WIDTH = 48
const HEIGHT = 32
const SCRIPT = '<script>alert(document.cookie)</script>'

const upright = encoder(quarters(WIDTH, HEIGHT))
const jpegOf = (orientation: number) =>
  encoder(quarters(WIDTH, HEIGHT, orientation))
    .jpeg()
    .toBuffer()
const withSegments = (jpeg: Uint8Array, ...segments: Uint8Array[]) => inserted(jpeg, 2, ...segments)
const exifSegment = (data: Uint8Array) => jpegSegment(0xe1, 'Exif\0\0', data)
/** After the header of a PNG. */
const withChunks = (png: Uint8Array, ...chunks: Uint8Array[]) => inserted(png, 33, ...chunks)
const beforeEnd = (png: Uint8Array, ...chunks: Uint8Array[]) => inserted(png, png.length - 12, ...chunks)
const gifComment = (text: string) => join(0x21, 0xfe, gifBlocks(Buffer.from(text)))
const beforeTrailer = (gif: Uint8Array, ...blocks: Uint8Array[]) => inserted(gif, gif.length - 1, ...blocks)
const extended = (still: Uint8Array, flags: number, ...after: Uint8Array[]) =>
  webp(riffChunk('VP8X', flags, 0, 0, 0, little(WIDTH - 1, 3), little(HEIGHT - 1, 3)), webpChunks(still), ...after)

/** Three frames, of which the first shows the four colours. */
async function frames(): Promise<Sharp> {
  const first = await upright.clone().png().toBuffer()
  const others = ['#203040', '#d0c0b0'].map((background) =>
    sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background } })
      .png()
      .toBuffer(),
  )
  return sharp([first, ...(await Promise.all(others))], { join: { animated: true } })
}

async function rotations(): Promise<Uploads> {
  const uploads: Uploads = {}
  for (let orientation = 1; orientation <= 8; orientation++) {
    uploads[`orientation-${orientation}.jpg`] = withSegments(await jpegOf(orientation), exifSegment(exif(orientation)))
  }
  const turned = encoder(quarters(WIDTH, HEIGHT, 6))
  const png = await turned.clone().png().toBuffer()
  const still = await turned.clone().webp({ quality: 90 }).toBuffer()
  const canvas = join(little(HEIGHT - 1, 3), little(WIDTH - 1, 3))
  const header = riffChunk('VP8X', 0x08, 0, 0, 0, canvas)
  return {
    ...uploads,
    'orientation-6.png': withChunks(png, pngChunk('eXIf', exif(6))),
    'orientation-6.webp': webp(header, webpChunks(still), riffChunk('EXIF', exif(6))),
    'orientation-6.avif': withProperty(await turned.clone().avif({ lossless: true }).toBuffer(), box('irot', 3)),
  }
}

/** Adds a property as the last one, and gives it to the first item, or to none. */
function withProperty(avif: Buffer, property: Uint8Array, isUsed = true): Buffer {
  const associations = placeOf(avif, 'ipma')
  const list = placeOf(avif, 'ipco')
  const listEnd = list - 4 + avif.readUInt32BE(list - 4)
  let properties = 0
  for (let at = list + 4; at < listEnd; at += avif.readUInt32BE(at)) properties++
  const grown = property.length + (isUsed ? 1 : 0)
  const growths = { meta: grown, iprp: grown, ipco: property.length, ipma: isUsed ? 1 : 0 }
  let result = avif
  for (const [type, growth] of Object.entries(growths)) {
    const at = placeOf(result, type) - 4
    result = patched(result, at, big(result.readUInt32BE(at) + growth, 4))
  }
  // The image moves, so its place in iloc does too.
  const image = placeOf(avif, 'mdat') + 4
  result = patched(result, result.indexOf(big(image, 4), placeOf(avif, 'iloc')), big(image + grown, 4))
  if (!isUsed) return inserted(result, listEnd, property)
  const count = associations + 14
  result = patched(result, count, avif.readUInt8(count) + 1)
  result = inserted(result, count + 1 + avif.readUInt8(count), properties + 1)
  return inserted(result, listEnd, property)
}

/** Shows the middle of an AVIF. */
const crop = (width: number, height: number) =>
  box('clap', ...[width, height, 0, 0].flatMap((number) => [big(number, 4), big(1, 4)]))

async function withMetadata(): Promise<Uploads> {
  const jpeg = await upright.clone().jpeg().withIccProfile('p3').toBuffer()
  const png = await upright.clone().png().withIccProfile('p3').toBuffer()
  const gif = await upright.clone().gif().toBuffer()
  const still = await upright.clone().webp({ lossless: true }).toBuffer()
  const place = exifWithPlace(1)
  const xmpBlocks = join(0x21, 0xff, 11, 'XMP DataXMP', gifBlocks(Buffer.from(xmp)))
  return {
    'gps.jpg': withSegments(await jpegOf(6), exifSegment(exifWithPlace(6))),
    'metadata.jpg': withSegments(
      jpeg,
      exifSegment(place),
      jpegSegment(0xe1, 'http://ns.adobe.com/xap/1.0/\0', xmp),
      jpegSegment(0xed, iptc),
      jpegSegment(0xfe, MAKER),
    ),
    'printed.jpg': withSegments(jpeg, jpegSegment(0xed, print)),
    'metadata.png': beforeEnd(
      png,
      pngChunk('eXIf', place),
      pngChunk('tEXt', 'Author\0', MAKER),
      pngChunk('iTXt', 'XML:com.adobe.xmp\0\0\0\0\0', xmp),
      pngChunk('tIME', big(2026, 2), 11, 30, 12, 0, 0),
    ),
    'metadata.webp': extended(still, 0x0c, riffChunk('EXIF', place), riffChunk('XMP ', xmp)),
    'metadata.avif': await upright
      .clone()
      .avif()
      .withExif({ IFD0: { Make: MAKER }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 12/1' } })
      .toBuffer(),
    'metadata.gif': beforeTrailer(gif, gifComment(MAKER), xmpBlocks),
  }
}

async function kinds(): Promise<Uploads> {
  const seeThrough = upright.clone().ensureAlpha(0.5)
  const dot = sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
  const animation = await frames()
  return {
    'cmyk.jpg': await upright.clone().toColourspace('cmyk').jpeg().toBuffer(),
    'progressive.jpg': await upright.clone().jpeg({ progressive: true }).toBuffer(),
    'grey.jpg': await upright.clone().greyscale().jpeg().toBuffer(),
    'restarts.jpg': withRestarts(await encoder(quarters(8, 8)).jpeg({ chromaSubsampling: '4:4:4' }).toBuffer()),
    'fill-bytes.jpg': inserted(await jpegOf(1), 2, '\xff\xff\xff'),
    'grey.png': await upright.clone().greyscale().png().toBuffer(),
    'depth-16.png': await upright.clone().toColourspace('rgb16').png().toBuffer(),
    'palette.png': await seeThrough.clone().png({ palette: true }).toBuffer(),
    'interlaced.png': await upright.clone().png({ progressive: true }).toBuffer(),
    'padded.png': join(await upright.clone().png().toBuffer(), Buffer.alloc(16)),
    'lossless.webp': await upright.clone().webp({ lossless: true }).toBuffer(),
    'lossy.webp': await upright.clone().webp().toBuffer(),
    'alpha.webp': await seeThrough.clone().webp().toBuffer(),
    'still.avif': await upright.clone().avif().toBuffer(),
    'cropped.avif': withProperty(await upright.clone().avif().toBuffer(), crop(24, 16)),
    'still.gif': await upright.clone().gif().toBuffer(),
    'dot.jpg': await dot.clone().jpeg().toBuffer(),
    'dot.png': await dot.clone().png().toBuffer(),
    'dot.webp': await dot.clone().webp().toBuffer(),
    'dot.gif': await dot.clone().gif().toBuffer(),
    'dot.avif': await dot.clone().avif().toBuffer(),
    'long.png': blackPng(12_000, 2),
    'high.jpg': await encoder(quarters(2, 8_000)).jpeg().toBuffer(),
    'animated.gif': await animation
      .clone()
      .gif({ delay: [100, 100, 100] })
      .toBuffer(),
    'animated.webp': await animation
      .clone()
      .webp({ lossless: true, delay: [100, 100, 100] })
      .toBuffer(),
    'animated.png': blackApng(WIDTH, HEIGHT, 3),
    'hidden-image.png': withHiddenImage(blackApng(WIDTH, HEIGHT, 3, 2)),
  }
}

/** States restarts that the image of one block needs nowhere. */
const withRestarts = (jpeg: Uint8Array) => withSegments(jpeg, jpegSegment(0xdd, big(1, 2)))

/** Without the first frame's size, its image is not a part of the animation. */
function withHiddenImage(apng: Buffer): Buffer {
  const first = placeOf(apng, 'fcTL') - 4
  return join(apng.subarray(0, first), apng.subarray(first + 12 + 26))
}

/** What phones write after a JPEG. */
async function trailers(): Promise<Uploads> {
  const jpeg = await jpegOf(1)
  const film = join(
    box('ftyp', 'mp42', big(0, 4), 'isommp42'),
    box('mdat', Buffer.alloc(300, 7)),
    box('moov', Buffer.alloc(60)),
  )
  const note = join(big(0x0a01, 4), big(14, 4), 'Image_UTC_Data', '1764500000000')
  const notes = join(
    'SEFH',
    big(107, 4),
    little(1, 4),
    little(0x0a010000, 4),
    little(note.length, 8),
    little(24, 4),
    'SEFT',
  )
  return {
    'motion-photo.jpg': join(jpeg, film),
    'two-pictures.jpg': join(jpeg, Buffer.alloc(8), await upright.clone().resize(12).jpeg().toBuffer()),
    'notes-after.jpg': join(jpeg, note, notes),
  }
}

async function bombs(): Promise<Uploads> {
  const jpeg = await jpegOf(1)
  const avif = await upright.clone().avif().toBuffer()
  const gif = await upright.clone().gif().toBuffer()
  return {
    'bomb.png': blackPng(16_000, 16_000),
    'bomb.jpg': patched(jpeg, placeOf(jpeg, '\xff\xc0') + 5, big(60_000, 2), big(60_000, 2)),
    'bomb.avif': patched(avif, placeOf(avif, 'ispe') + 8, big(20_000, 4), big(20_000, 4)),
    'bomb-canvas.gif': patched(gif, 6, little(65_535, 2), little(65_535, 2)),
    'bomb-canvas.webp': await repeatedWebp([16_000, 16_000], [1, 1], 1),
    'bomb-frames.gif': await repeatedGif(1_000, 1_000, 51),
    'bomb-frames.png': blackApng(1_000, 1_000, 51),
    'bomb-frames.webp': await repeatedWebp([1_000, 1_000], [1_000, 1_000], 51),
    'many-frames.gif': await repeatedGif(1, 1, 1_001),
    'too-long.png': blackPng(12_001, 1),
  }
}

const half = (bytes: Uint8Array) => bytes.subarray(0, bytes.length / 2)

async function truncated(): Promise<Uploads> {
  const [jpeg, png, gif] = [
    await jpegOf(1),
    await upright.clone().png().toBuffer(),
    await upright.clone().gif().toBuffer(),
  ]
  const still = await upright.clone().webp({ lossless: true }).toBuffer()
  return {
    'empty.jpg': Buffer.alloc(0),
    'truncated.jpg': half(jpeg),
    'without-end.jpg': jpeg.subarray(0, -2),
    'header-only.jpg': jpeg.subarray(0, placeOf(jpeg, '\xff\xda')),
    'truncated.png': half(png),
    'without-end.png': png.subarray(0, -12),
    'truncated.gif': half(gif),
    'without-end.gif': gif.subarray(0, -1),
    'truncated.webp': half(still),
    'truncated.avif': half(await upright.clone().avif().toBuffer()),
  }
}

/** Other files, most of them with the name of a picture. */
async function foreign(): Promise<Uploads> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">${SCRIPT}</svg>`
  const heic = box('ftyp', 'heic', big(0, 4), 'mif1heic')
  const [jpeg, png, gif] = [
    await jpegOf(1),
    await upright.clone().png().toBuffer(),
    await upright.clone().gif().toBuffer(),
  ]
  const avif = await upright.clone().avif().toBuffer()
  return {
    'svg.png': Buffer.from(svg),
    'svg-after-space.png': Buffer.from(`\ufeff \n<?xml version="1.0"?>\n${svg}`),
    'page.gif': Buffer.from(`<!doctype html>${SCRIPT}`),
    'text.jpg': Buffer.from('not a picture'),
    'zip.png': zip('a.txt', 'not a picture'),
    'document.jpg': Buffer.from('%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n'),
    'windows.jpg': await bitmap(),
    'tagged.jpg': await upright.clone().tiff({ compression: 'lzw' }).toBuffer(),
    'phone.heic': join(heic, avif.subarray(avif.readUInt32BE(0))),
    'animated.avif': join(avif, box('moov', box('trak', Buffer.alloc(16)))),
    'zip-after.gif': join(gif, zip('Main.class', 'not a class')),
    'zip-after.jpg': join(jpeg, zip('Main.class', 'not a class')),
    'zip-inside.png': beforeEnd(png, pngChunk('zzZz', zip('a.txt', 'not a picture'))),
    'pdf-inside.jpg': withSegments(jpeg, jpegSegment(0xfe, '%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj')),
    'script-inside.jpg': withSegments(jpeg, jpegSegment(0xfe, SCRIPT)),
    'script-inside.png': withChunks(png, pngChunk('tEXt', 'Comment\0', SCRIPT)),
    'script-inside.gif': beforeTrailer(gif, gifComment(SCRIPT)),
    'php-inside.gif': beforeTrailer(gif, gifComment('<?php system($_GET[0]); ?>')),
    'script-after.jpg': join(jpeg, '\n', SCRIPT),
    'text-after.png': join(png, '/*', 'alert(1)', '*/'),
    'text-after.gif': join(gif, '=1;alert(1)'),
    'text-after.webp': join(await upright.clone().webp().toBuffer(), 'alert(1)'),
    'text-after.avif': join(avif, 'alert(1)'),
  }
}

const bitmap = async () =>
  join(
    'BM',
    little(58, 4),
    little(0, 4),
    little(54, 4),
    little(40, 4),
    little(1, 4),
    little(1, 4),
    little(1, 2),
    little(24, 2),
    little(0, 24),
    little(0, 4),
  )

/** Files whose parts state different sizes or numbers of frames, so that two programs could read two pictures. */
async function ambiguous(): Promise<Uploads> {
  const jpeg = await jpegOf(1)
  const png = await upright.clone().png().toBuffer()
  const gif = await upright.clone().gif().toBuffer()
  const still = await upright.clone().webp({ lossless: true }).toBuffer()
  const size = placeOf(jpeg, '\xff\xc0')
  const sizeSegment = jpeg.subarray(size, size + 2 + jpeg.readUInt16BE(size + 2))
  const scan = placeOf(jpeg, '\xff\xda')
  const gifImage = gif.indexOf(join(0x2c, 0, 0, 0, 0), 13)
  return {
    'two-sizes.jpg': inserted(jpeg, size, patched(sizeSegment, 5, big(1, 2), big(1, 2))),
    'many-scans.jpg': join(
      jpeg.subarray(0, scan),
      ...Array.from({ length: 101 }, () => jpeg.subarray(scan, -2)),
      '\xff\xd9',
    ),
    'large-image.webp': await repeatedWebp([100, 100], [10, 10], 1, [100, 100]),
    'arithmetic.jpg': patched(jpeg, size + 1, 0xc9),
    'two-headers.png': inserted(png, 33, png.subarray(8, 33)),
    'apple.png': inserted(png, 8, pngChunk('CgBI', big(0x50002002, 4))),
    'damaged-header.png': patched(png, 16, big(WIDTH + 1, 4)),
    'hidden-frames.png': blackApng(WIDTH, HEIGHT, 9, 1),
    'large-crop.avif': withProperty(await upright.clone().avif().toBuffer(), crop(WIDTH + 1, HEIGHT)),
    'unused-crop.avif': withProperty(await upright.clone().avif().toBuffer(), crop(WIDTH + 1, HEIGHT), false),
    'large-frame.gif': patched(gif, gifImage + 5, little(WIDTH + 1, 2)),
    'small-header.webp': webp(riffChunk('VP8X', 0, 0, 0, 0, little(0, 6)), webpChunks(still)),
    'large-frame.webp': await repeatedWebp([10, 10], [100, 100], 1),
    'long-header.webp': patched(still, 4, little(still.length + 100, 4)),
  }
}

/** Their structure is whole, and their pixels are not. */
async function undecodable(): Promise<Uploads> {
  const jpeg = await encoder(photo(160, 120)).jpeg().toBuffer()
  const png = await upright.clone().png().toBuffer()
  return {
    'broken-pixels.png': join(png.subarray(0, 33), pngChunk('IDAT', 'not compressed'), pngChunk('IEND')),
    'missing-half.jpg': join(half(jpeg), '\xff\xd9'),
  }
}

/** Small enough for the repository. */
export async function smallUploads(): Promise<Uploads> {
  const groups = [rotations, withMetadata, kinds, trailers, bombs, truncated, foreign, ambiguous, undecodable]
  return Object.assign({}, ...(await Promise.all(groups.map((group) => group()))))
}

/** Made when a test needs them. */
export const largeUploads: Record<string, () => Promise<Uint8Array>> = {
  'photo-12-megapixels.jpg': async () => {
    const jpeg = await encoder(photo(4_000, 3_000)).jpeg({ quality: 85 }).toBuffer()
    return withSegments(jpeg, exifSegment(exifWithPlace(6)))
  },
  'too-many-bytes.png': async () => join(blackPng(8, 8), Buffer.alloc(10_000_001)),
}
