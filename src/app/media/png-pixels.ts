/** Pixels of a small PNG: 4 bytes each, red, green, blue, alpha. */
export interface Pixels {
  width: number
  height: number
  rgba: Uint8Array
}

const SIDE_MAX = 100
const SIGNATURE = '89504e470d0a1a0a'

/** Bytes per pixel by colour type: grey, colour, palette, grey with alpha, colour with alpha. */
const channelsOf: Partial<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

interface Chunks {
  header: Buffer
  palette: Buffer
  transparency: Buffer
  data: Buffer
}

/**
 * The pixels of a PNG with 8 bits per channel, not interlaced, and at most 100 pixels wide and high. Null for any other
 * PNG. The Images binding can answer with pixels, but the local one cannot, and a PNG is all that both can.
 */
export async function pixelsOf(png: Uint8Array): Promise<Pixels | null> {
  const { header, palette, transparency, data } = chunksOf(Buffer.from(png))
  if (header.length !== 13) return null
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  const [depth, colour = -1, , , interlaced] = header.subarray(8)
  const channels = channelsOf[colour]
  if (channels === undefined || depth !== 8 || interlaced !== 0) return null
  if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX) return null
  const raw = unfiltered(await inflated(data, height * (width * channels + 1)), width * channels, channels, height)
  const rgba = new Uint8Array(width * height * 4)
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [a = 0, b = 0, c = 0, d = 255] = raw.subarray(pixel * channels, (pixel + 1) * channels)
    if (channels === 1 && colour === 3)
      rgba.set([...palette.subarray(a * 3, a * 3 + 3), transparency[a] ?? 255].slice(0, 4), pixel * 4)
    else rgba.set(channels <= 2 ? [a, a, a, channels === 2 ? b : 255] : [a, b, c, d], pixel * 4)
  }
  return { width, height, rgba }
}

function chunksOf(png: Buffer): Chunks {
  const found: Record<string, Buffer[]> = {}
  if (png.toString('hex', 0, 8) === SIGNATURE)
    for (let at = 8; at + 12 <= png.length; ) {
      const length = png.readUInt32BE(at)
      const name = png.toString('latin1', at + 4, at + 8)
      found[name] = [...(found[name] ?? []), png.subarray(at + 8, at + 8 + length)]
      at += 12 + length
    }
  const joined = (name: string) => Buffer.concat(found[name] ?? [])
  return { header: joined('IHDR'), palette: joined('PLTE'), transparency: joined('tRNS'), data: joined('IDAT') }
}

/** Stops as soon as there is more than the picture can have. */
async function inflated(data: Buffer, bytesMax: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate'))) {
    parts.push(part)
    length += part.length
    if (length > bytesMax) throw new Error(`the pixels of a small PNG have more than ${bytesMax} bytes`)
  }
  return Buffer.concat(parts)
}

/** Undoes the filter of each row (PNG specification, 9.2). */
function unfiltered(rows: Buffer, rowBytes: number, channels: number, height: number): Uint8Array {
  const out = new Uint8Array(rowBytes * height)
  for (let row = 0; row < height; row++) {
    const filter = rows[row * (rowBytes + 1)]
    for (let at = 0; at < rowBytes; at++) {
      const place = row * rowBytes + at
      const left = at >= channels ? (out[place - channels] ?? 0) : 0
      const above = row > 0 ? (out[place - rowBytes] ?? 0) : 0
      const corner = row > 0 && at >= channels ? (out[place - rowBytes - channels] ?? 0) : 0
      out[place] = (rows[row * (rowBytes + 1) + 1 + at] ?? 0) + predicted(filter, left, above, corner)
    }
  }
  return out
}

function predicted(filter: number | undefined, left: number, above: number, corner: number): number {
  if (filter === 1) return left
  if (filter === 2) return above
  if (filter === 3) return (left + above) >> 1
  if (filter !== 4) return 0
  const [a, b, c] = [left, above, corner].map((value) => Math.abs(left + above - corner - value)) as [
    number,
    number,
    number,
  ]
  if (a <= b && a <= c) return left
  return b <= c ? above : corner
}
