// Validates a chain with Java's own revocation checker and prints "good" or "revoked".
// Arguments: the root, then the leaf and its issuer, PEM; the word ocsp or crl.
import java.io.FileInputStream;
import java.security.Security;
import java.security.cert.*;
import java.util.*;

public class Revocation {
    static X509Certificate read(String path) throws Exception {
        try (FileInputStream file = new FileInputStream(path)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(file);
        }
    }

    public static void main(String[] arguments) throws Exception {
        // Java follows the pointers of certificates to CRLs only when it is told to.
        System.setProperty("com.sun.security.enableCRLDP", "true");
        Security.setProperty("ocsp.enable", "true");
        X509Certificate root = read(arguments[0]), leaf = read(arguments[1]), issuer = read(arguments[2]);
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        EnumSet<PKIXRevocationChecker.Option> options =
            EnumSet.of(PKIXRevocationChecker.Option.ONLY_END_ENTITY, PKIXRevocationChecker.Option.NO_FALLBACK);
        if (arguments[3].equals("crl")) {
            options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
        }
        checker.setOptions(options);
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertPathChecker(checker);
        CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(List.of(leaf, issuer));
        try {
            validator.validate(path, parameters);
            System.out.println("good");
        } catch (CertPathValidatorException error) {
            if (error.getReason() != CertPathValidatorException.BasicReason.REVOKED) {
                throw error;
            }
            System.out.println("revoked " + ((CertificateRevokedException) error.getCause()).getRevocationReason());
        }
    }
}
