import { type PictureBytes, type PictureStructure, refuse, type Size, tag } from './picture-bytes.ts'

const META = tag('meta')
const MOVIE = tag('moov')
const FRAGMENT = tag('moof')
const PRIMARY = tag('pitm')
const PROPERTIES = tag('iprp')
const PROPERTY_LIST = tag('ipco')
const ASSOCIATIONS = tag('ipma')
const SIZE = tag('ispe')
const ROTATION = tag('irot')
const CROP = tag('clap')
const MIRROR = tag('imir')

/** The EXIF orientation of a rotation by 0 to 3 quarters to the left, before no mirror, one of axis 0, or of axis 1. */
const orientations = { none: [1, 8, 3, 6], 0: [4, 5, 2, 7], 1: [2, 7, 4, 5] } as const

interface Box {
  type: number
  data: number
  end: number
}

/**
 * Walks the boxes of the file, and of the list of properties. `pixels` is the largest size that any item states,
 * because a thumbnail or the parts of a grid have sizes too.
 */
export function walkAvif(bytes: PictureBytes): PictureStructure {
  for (const box of boxes(bytes, 0)) {
    if (box.type === MOVIE || box.type === FRAGMENT) refuse('The AVIF is an animation, which is not supported')
  }
  const meta = onlyBox(bytes, 0, META)
  const inMeta = bytes.until(meta.end)
  const primary = onlyBox(inMeta, meta.data + 4, PRIMARY)
  const container = onlyBox(inMeta, meta.data + 4, PROPERTIES)
  const inContainer = bytes.until(container.end)
  const list = onlyBox(inContainer, container.data, PROPERTY_LIST)

  const isShort = bytes.u8(primary.data) === 0
  const item = isShort ? bytes.u16(primary.data + 4) : bytes.u32(primary.data + 4)
  const used = new Set<number>()
  for (const { type, data, end } of boxes(inContainer, container.data)) {
    if (type === ASSOCIATIONS) addProperties(bytes.until(end), data, item, used)
  }

  let size: Size | undefined
  let crop: Size | undefined
  let pixels = 0
  let quarters = 0
  let axis: 'none' | 0 | 1 = 'none'
  let index = 0
  for (const { type, data } of boxes(bytes.until(list.end), list.data)) {
    index++
    if (type === SIZE) pixels = Math.max(pixels, bytes.u32(data + 4) * bytes.u32(data + 8))
    if (!used.has(index)) continue
    if (type === SIZE) size = { width: bytes.u32(data + 4), height: bytes.u32(data + 8) }
    if (type === CROP) crop = { width: fraction(bytes, data), height: fraction(bytes, data + 8) }
    if (type === ROTATION) quarters = bytes.u8(data) & 3
    if (type === MIRROR) axis = bytes.u8(data) & 1 ? 1 : 0
  }
  if (size === undefined) refuse('The AVIF has no image')
  const { width, height } = crop ?? size
  if (!(width <= size.width && height <= size.height)) refuse('The AVIF shows more than it has')
  return { width, height, orientation: orientations[axis][quarters] ?? 1, frames: 1, pixels }
}

const fraction = (bytes: PictureBytes, at: number): number => Math.round(bytes.u32(at) / bytes.u32(at + 4))

/** Adds the places in the list of properties, from 1, that belong to an item. */
function addProperties(bytes: PictureBytes, data: number, wanted: number, places: Set<number>): void {
  const isWide = (bytes.u8(data + 3) & 1) !== 0
  const idBytes = bytes.u8(data) === 0 ? 2 : 4
  const entries = bytes.u32(data + 4)
  let at = data + 8
  for (let entry = 0; entry < entries; entry++) {
    const item = idBytes === 2 ? bytes.u16(at) : bytes.u32(at)
    const count = bytes.u8(at + idBytes)
    at += idBytes + 1
    for (let place = 0; place < count; place++, at += isWide ? 2 : 1) {
      const index = isWide ? bytes.u16(at) & 0x7fff : bytes.u8(at) & 0x7f
      if (item === wanted) places.add(index)
    }
  }
}

function onlyBox(bytes: PictureBytes, from: number, type: number): Box {
  let found: Box | undefined
  for (const box of boxes(bytes, from)) {
    if (box.type !== type) continue
    if (found !== undefined) refuse('The AVIF is damaged')
    found = box
  }
  return found ?? refuse('The AVIF is damaged')
}

/** A box of size 0 extends to the end, and one of size 1 has its size in eight bytes after its type. */
function* boxes(bytes: PictureBytes, from: number): Generator<Box> {
  for (let at = from; at < bytes.end; ) {
    const size = bytes.u32(at)
    const type = bytes.u32(at + 4)
    if (size === 0 && type === 0) return bytes.mustEnd(at)
    const data = at + (size === 1 ? 16 : 8)
    const length = size === 1 ? bytes.u32(at + 8) * 2 ** 32 + bytes.u32(at + 12) : size || bytes.end - at
    if (at + length < data) refuse('The AVIF is damaged')
    if (at + length > bytes.end) refuse('The picture is incomplete')
    yield { type, data, end: at + length }
    at += length
  }
}
