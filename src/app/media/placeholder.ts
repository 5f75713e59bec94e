import { thumbHashToRGBA } from 'thumbhash'

/** The cells of a placeholder, in each direction. */
export const CELLS = 4

/** The colours of a blurred picture, row by row, from its thumbhash (base64). */
export function placeholderColours(thumbhash: string): string[] {
  const { w, h, rgba } = thumbHashToRGBA(Buffer.from(thumbhash, 'base64'))
  return Array.from({ length: CELLS * CELLS }, (_, cell) => {
    const x = middle(cell % CELLS, w)
    const y = middle(Math.floor(cell / CELLS), h)
    return `#${Buffer.from(rgba.subarray((y * w + x) * 4, (y * w + x) * 4 + 3)).toString('hex')}`
  })
}

const middle = (cell: number, pixels: number): number => Math.floor(((cell + 0.5) / CELLS) * pixels)
