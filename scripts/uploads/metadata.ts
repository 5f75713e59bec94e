import { big, join } from './bytes.ts'

interface Tag {
  tag: number
  type: number
  count: number
  /** Four bytes, or more, which then follow the directory. */
  value: Buffer
}

const short = (tag: number, value: number): Tag => ({ tag, type: 3, count: 1, value: join(big(value, 2), 0, 0) })
const long = (tag: number, value: number): Tag => ({ tag, type: 4, count: 1, value: big(value, 4) })
const ascii = (tag: number, text: string): Tag => {
  const value = join(text, 0)
  return { tag, type: 2, count: value.length, value: Buffer.concat([value], Math.max(4, value.length)) }
}
const degrees = (tag: number, ...parts: number[]): Tag => ({
  tag,
  type: 5,
  count: 3,
  value: join(...parts.flatMap((part) => [big(part, 4), big(1, 4)])),
})

/** A directory of TIFF that starts at `at`, with the values that do not fit its entries. */
function directory(at: number, tags: Tag[]): Buffer {
  let valuesAt = at + 2 + tags.length * 12 + 4
  const entries: Buffer[] = []
  const values: Buffer[] = []
  for (const { tag, type, count, value } of tags) {
    const isInline = value.length === 4
    entries.push(join(big(tag, 2), big(type, 2), big(count, 4), isInline ? value : big(valuesAt, 4)))
    if (isInline) continue
    values.push(value)
    valuesAt += value.length
  }
  return join(big(tags.length, 2), ...entries, big(0, 4), ...values)
}

/** EXIF data as in PNG and WebP. JPEG has `Exif\0\0` before it. */
export const exif = (orientation: number): Buffer =>
  join('MM\0*', big(8, 4), directory(8, [short(0x0112, orientation)]))

export const MAKER = 'Example Phone 12'

/** With the maker, and the place of a house. */
export function exifWithPlace(orientation: number): Buffer {
  const tags = (gpsAt: number) => [ascii(0x010f, MAKER), short(0x0112, orientation), long(0x8825, gpsAt)]
  const gpsAt = 8 + directory(8, tags(0)).length
  const gps = [ascii(1, 'N'), degrees(2, 52, 31, 12), ascii(3, 'E'), degrees(4, 13, 24, 36)]
  return join('MM\0*', big(8, 4), directory(8, tags(gpsAt)), directory(gpsAt, gps))
}

export const xmp = `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"
dc:creator="${MAKER}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`

/** The photographer's name, as news agencies write it. */
export const iptc = join(
  'Photoshop 3.0\0',
  '8BIM',
  big(0x0404, 2),
  big(0, 2),
  big(5 + 16, 4),
  0x1c,
  2,
  80,
  big(16, 2),
  MAKER,
  0,
)

const printSettings =
  '<?xml version="1.0"?>\n<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN">\n<plist/>\n'
/** Settings of a printer, which Photoshop writes as XML. */
export const print = join(
  'Photoshop 3.0\0',
  '8BIM',
  big(0x03ea, 2),
  big(0, 2),
  big(printSettings.length, 4),
  printSettings,
  printSettings.length % 2 === 1 ? 0 : '',
)
