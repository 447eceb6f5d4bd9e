// A target of C needs a file: the header is checked here, as a module of its own has it.
#include "CPKCS11.h"

_Static_assert(sizeof(CK_GCM_PARAMS) == 6 * sizeof(void *), "the layout of PKCS #11 on systems of Unix has no packing");
