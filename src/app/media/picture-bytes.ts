import { BanyanError } from '../../core/errors.ts'

export interface Size {
  width: number
  height: number
}

/**
 * What one format's walk finds. `pixels` is what a decoder needs for all frames together, each as large as the canvas.
 * Width and height are the canvas as the walk reads it.
 */
export interface PictureStructure extends Size {
  orientation: number
  frames: number
  pixels: number
}

/** Ends the check. `reason` is a sentence without its full stop. */
export function refuse(reason: string): never {
  throw new BanyanError('PICTURE_TYPE', `${reason}. Save the picture again as JPEG, PNG, WebP, AVIF or GIF.`)
}

/** Reads of numbers inside `[0, end)`. A read that does not fit refuses the file, because it is truncated there. */
export class PictureBytes {
  readonly #bytes: Uint8Array
  readonly end: number

  constructor(bytes: Uint8Array, end = bytes.length) {
    this.#bytes = bytes
    this.end = Math.min(end, bytes.length)
  }

  /** The same bytes, of which only those before `end` can be read. */
  until(end: number): PictureBytes {
    return new PictureBytes(this.#bytes, Math.min(end, this.end))
  }

  u8(at: number): number {
    const byte = at < this.end ? this.#bytes[at] : undefined
    return byte ?? refuse('The picture is incomplete')
  }

  u16(at: number): number {
    return this.u8(at) * 256 + this.u8(at + 1)
  }

  u16LittleEndian(at: number): number {
    return this.u8(at) + this.u8(at + 1) * 256
  }

  u24LittleEndian(at: number): number {
    return this.u16LittleEndian(at) + this.u8(at + 2) * 65_536
  }

  u32(at: number): number {
    return this.u16(at) * 65_536 + this.u16(at + 2)
  }

  u32LittleEndian(at: number): number {
    return this.u16LittleEndian(at) + this.u16LittleEndian(at + 2) * 65_536
  }

  /** True if `text`, which is ASCII, is there. */
  has(at: number, text: string): boolean {
    if (at + text.length > this.end) return false
    for (let index = 0; index < text.length; index++) {
      if (this.#bytes[at + index] !== text.charCodeAt(index)) return false
    }
    return true
  }

  /** The place of the next `byte`, or the end. */
  find(byte: number, from: number): number {
    const bytes = this.#bytes
    const { end } = this
    let at = from
    while (at < end && bytes[at] !== byte) at++
    return at
  }

  /** Refuses bytes after a picture's end, unless all of them are zeros or line breaks, with which some programs pad. */
  mustEnd(from: number): void {
    for (let at = from; at < this.end; at++) {
      const byte = this.#bytes[at]
      if (byte !== 0 && byte !== 0x0a && byte !== 0x0d) refuse('The file has other content after the picture')
    }
  }
}

/** A four-letter type of a chunk or box, as the number that a big-endian read gives. */
export const tag = (text: string): number =>
  [...text].reduce((number, letter) => number * 256 + letter.charCodeAt(0), 0)
