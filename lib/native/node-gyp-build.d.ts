declare module 'node-gyp-build' {
  /** Requires the addon of the package in `folder`; throws when there is none for this platform. */
  export default function load(folder: string): unknown;
}
