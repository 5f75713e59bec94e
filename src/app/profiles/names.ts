import { isVisible } from '../../core/visible.ts'

/** What pages call a user: a name that was stored before names had to be visible would leave links without text. */
export const shownName = ({ displayName, handle }: { displayName: string; handle: string }): string =>
  isVisible(displayName) ? displayName : handle
