import { type Clock, inTime } from '../core/clock.ts'
import { limits } from '../core/limits.ts'

export interface Transformation {
  width: number
  height: number
  /** `scale-down` fits into the box and never enlarges; `cover` fills the box and crops. */
  fit: 'scale-down' | 'cover'
  type: 'image/webp' | 'image/png'
}

/** Transforms pictures: one still picture from the first frame, upright. Throws for every failure, whatever its cause. */
export interface Images {
  transform(bytes: Uint8Array, to: Transformation): Promise<Uint8Array>
}

/** Through the Images binding. Only the platform applies `quality` and `anim`; the local binding ignores both. */
export const imagesOf = (binding: Pick<ImagesBinding, 'input'>, clock: Clock): Images => ({
  transform: (bytes, { type, ...size }) => inTime(clock, limits.imageMs, transformed(binding, bytes, size, type)),
})

async function transformed(
  binding: Pick<ImagesBinding, 'input'>,
  bytes: Uint8Array,
  size: Omit<Transformation, 'type'>,
  type: Transformation['type'],
): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream()
  const result = await binding.input(stream).transform(size).output({ format: type, quality: QUALITY, anim: false })
  return new Uint8Array(await new Response(result.image()).arrayBuffer())
}

const QUALITY = 80
