import type { ClaimHolders, Credentials, Listed, RestoreContribution } from '../../cli/restore/noun.ts'
import { counted } from '../../cli/shell/table.ts'
import { claimKey } from '../../sharding/claims.ts'
import { claimKinds, emailClaim, handleClaim } from './accounts.ts'

const claims: ClaimHolders<{ id: string; email: string; handle: string }> = {
  table: 'accounts',
  select: 'SELECT accounts.id, email, handle FROM accounts JOIN profiles ON profiles.id = accounts.id',
  kinds: claimKinds,
  claimsOf: ({ email, handle }) =>
    [emailClaim(email), handleClaim(handle)].map((spec) => ({ kind: spec.kind, key: claimKey(spec) })),
  names: { lacks: 'account', id: 'accountId', lacking: 'lackingAccounts', rows: 'accounts' },
  texts: {
    orphans: (count) =>
      `${count} of missing accounts or of values that their accounts no longer have, so no user can take these.`,
    lacking: (count) => `${count} missing for existing accounts, so another user may take the same address or handle.`,
    whole: 'Every claim has its account, and every account its claims.',
  },
}

const credentials: Credentials = {
  table: 'accounts',
  columns: { version: 'password_version', watched: 'email' },
  names: {
    rows: 'accounts',
    id: 'accountId',
    version: 'passwordVersion',
    olderVersion: 'password',
    otherText: 'email',
  },
  texts: {
    noted: (count) => `${counted(count, 'account')}, with the version of each password`,
    compared: comparedText,
  },
}

function comparedText(listed: Listed, file: string): string[] {
  if (listed === null)
    return ['Accounts were not compared, because the list from before the restore is missing.', RESET_ALL]
  const { password = 0, email = 0, created = 0, deleted = 0 } = listed
  if (password + email + created + deleted === 0)
    return ['Every account has the same password and address as before the restore.']
  return [
    `${counted(password, 'account')} with an older password, ${email} with an older e-mail address, ${deleted} deleted since (now back), ${created} created since (now lost).`,
    `They are listed in ${file}.`,
    ...(password + email > 0 ? [RESET] : []),
  ]
}

const RESET =
  'Send these users a password reset. A password that was changed because someone else knew it is valid again.'
const RESET_ALL =
  'Passwords changed since then are the older ones again. Ask the users of this shard to reset their passwords.'

/** The accounts' contribution to a restore of a shard. */
export const operator: RestoreContribution = {
  claims,
  revoked: [{ table: 'mail_tokens', names: { row: 'mailed token', deleted: 'mailTokensDeleted' } }],
  credentials,
}
