import { shownName } from './names.ts'

const leafTones = 6

function leafTone(handle: string): number {
  let sum = 0
  for (const character of handle) sum += character.codePointAt(0) ?? 0
  return sum % leafTones
}

function firstGrapheme(text: string): string {
  for (const { segment } of new Intl.Segmenter().segment(text.trim())) return segment
  return '·'
}

export type LeafProps = {
  user: { handle: string; displayName: string; avatar?: { url: string } | null }
  size?: 'small' | 'large'
}

/** A user's picture, or a leaf with an initial if there is none. */
export const Leaf = ({ user, size }: LeafProps) => {
  const classes = `leaf tone-${leafTone(user.handle)}${size ? ` leaf-${size}` : ''}`
  if (user.avatar) return <img class={classes} src={user.avatar.url} alt="" width="44" height="44" loading="lazy" />
  return (
    <span class={classes} aria-hidden="true">
      {firstGrapheme(shownName(user))}
    </span>
  )
}
