import { limits } from '../../core/limits.ts'
import { exifOrientation } from './exif.ts'
import { type PictureBytes, type PictureStructure, refuse, type Size } from './picture-bytes.ts'

const START = 0xd8
const END = 0xd9
const SCAN = 0xda
const APP1 = 0xe1
/** Baseline, extended and progressive. Browsers decode no other coding. */
const codings = [0xc0, 0xc1, 0xc2]
/** These are frames too: lossless, hierarchical and arithmetic. */
const isOtherCoding = (marker: number) =>
  (marker >= 0xc3 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) || marker === 0xde

const isRestart = (marker: number) => marker >= 0xd0 && marker <= 0xd7

/**
 * Walks the segments up to the end of the image. Bytes after it are allowed, because phones write a second picture, a
 * short film or their own notes there (decision 0047).
 */
export function walkJpeg(bytes: PictureBytes): PictureStructure {
  let size: Size | undefined
  let orientation: number | undefined
  let scans = 0
  let at = 2
  for (let segments = 0; ; segments++) {
    if (segments > limits.pictureSegmentsMax) refuse('The JPEG has too many segments')
    const marker = markerAt(bytes, at)
    const start = bytes.find(marker, at) + 1
    if (marker === END) break
    if (marker === START || marker < 0xc0 || isRestart(marker)) refuse('The JPEG is damaged')
    const length = bytes.u16(start)
    const next = start + length
    if (length < 2) refuse('The JPEG is damaged')
    if (next > bytes.end) refuse('The picture is incomplete')

    if (codings.includes(marker)) {
      if (size !== undefined) refuse('The JPEG has two sizes')
      size = { height: bytes.u16(start + 3), width: bytes.u16(start + 5) }
    } else if (isOtherCoding(marker)) {
      refuse('The JPEG has a coding that browsers do not show')
    } else if (marker === APP1 && bytes.has(start + 2, 'Exif\0\0')) {
      orientation ??= exifOrientation(bytes.until(next), start + 2)
    }
    if (marker === SCAN) {
      if (size === undefined) refuse('The JPEG is damaged')
      scans++
      if (scans > limits.pictureScansMax) refuse('The JPEG has too many scans')
    }
    at = marker === SCAN ? endOfScan(bytes, next) : next
  }
  if (size === undefined || scans === 0) refuse('The JPEG has no image')
  return { ...size, orientation: orientation ?? 1, frames: 1, pixels: size.width * size.height }
}

/** The marker at `at`, after any number of fill bytes 0xff. */
function markerAt(bytes: PictureBytes, at: number): number {
  if (bytes.u8(at) !== 0xff) refuse('The JPEG is damaged')
  let place = at + 1
  while (bytes.u8(place) === 0xff) place++
  return bytes.u8(place)
}

/** The next marker after compressed data, in which 0xff is followed by a zero or is a restart. */
function endOfScan(bytes: PictureBytes, from: number): number {
  let at = from
  while (true) {
    at = bytes.find(0xff, at)
    const next = bytes.u8(at + 1)
    if (next === 0xff) at++
    else if (next === 0 || isRestart(next)) at += 2
    else return at
  }
}
