import { isVisible } from '../../core/visible.ts'

/** The user's name on pages. Older names may be invisible and would leave links without text. */
export const shownName = ({ displayName, handle }: { displayName: string; handle: string }): string =>
  isVisible(displayName) ? displayName : handle
