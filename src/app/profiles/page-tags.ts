/** The tag of each shared page that shows something of this user. */
export const userTag = (id: string): string => `user:${id}`
