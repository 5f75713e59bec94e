import { isId } from '../../core/ids.ts'

/**
 * The objects of a picture. A key contains the picture's id, which has 80 random bits, so nobody guesses it before
 * something shows the picture. No route serves an original.
 */
export const ORIGINALS = 'originals/'
export const VARIANTS = 'variants/'

/** The widths of a post's picture, in pixels. A variant is never wider than the original. */
export const postWidths = { small: 480, medium: 960, large: 1_920 } as const

export const postVariants = ['small', 'medium', 'large'] as const

/** The sides of an avatar. It is shown at up to 72 px, on screens with up to 3 pixels per px. */
export const AVATAR_SIDE = 256

const variantNames = [...postVariants, 'avatar']
const VARIANT = new RegExp(`^([0-9a-z]{30})-(?:${variantNames.join('|')})\\.webp$`)

export const originalKey = (id: string): string => `${ORIGINALS}${id}`
export const variantFile = (id: string, name: string): string => `${id}-${name}.webp`
export const variantKey = (file: string): string => `${VARIANTS}${file}`
export const variantUrl = (id: string, name: string): string => `/media/${variantFile(id, name)}`

/** The tag of the cached variants of a picture. */
export const mediaTag = (id: string): string => `media:${id}`

/** The picture of a variant's file, or null if it is no such file. */
export function idOfFile(file: string): string | null {
  const [, id = ''] = VARIANT.exec(file) ?? []
  return isId(id) ? id : null
}

/** The picture of an object, or null for an object of another kind. */
export function idOfKey(key: string): string | null {
  if (key.startsWith(VARIANTS)) return idOfFile(key.slice(VARIANTS.length))
  const id = key.startsWith(ORIGINALS) ? key.slice(ORIGINALS.length) : ''
  return isId(id) ? id : null
}

/** All keys that a picture can have. */
export const keysOf = (id: string): string[] => [
  originalKey(id),
  ...variantNames.map((name) => variantKey(variantFile(id, name))),
]

/** The variant that every ready picture has. */
export const anyVariantKey = (id: string): string => variantKey(variantFile(id, 'small'))
