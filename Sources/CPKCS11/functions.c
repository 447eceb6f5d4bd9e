// A C target needs a source file. This file checks the layout of a struct of the header when it is compiled.
#include "CPKCS11.h"

_Static_assert(sizeof(CK_GCM_PARAMS) == 6 * sizeof(void *), "the layout of PKCS #11 on systems of Unix has no packing");
